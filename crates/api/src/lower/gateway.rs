//! Lowers a Gateway.

use lateen_model::gateway::{self as model, Certificate, ClientCa, Gateway, Server, ServerHost};
use lateen_model::secret::AUTHORITIES_ENDING;
use lateen_model::{Body, HostPattern, Protocol};

use super::{Context, Lowered, port};
use crate::spec::gateway as spec;
use crate::spec::tls::{ServerTls, ServerTlsMode, TlsVersion};

/// Lowers a spec that was checked.
pub(super) fn lower(spec: &spec::Gateway, context: &Context<'_>) -> Lowered {
    let mut lowered = Lowered::default();
    let mut servers = Vec::new();
    for (index, entry) in spec.servers.iter().enumerate() {
        // A server whose TLS cannot be ended must not be opened as plaintext instead.
        if shows_identity(entry) {
            lowered
                .unsupported
                .push(format!("spec.servers[{index}].tls.mode"));
        } else {
            servers.push(server(entry, context));
        }
    }
    let body = Gateway {
        namespace: context.namespace.to_owned(),
        name: context.source.object.name.clone(),
        selector: spec.selector.clone(),
        servers,
    };
    lowered
        .resources
        .push(context.resource(Body::Gateway(body)));
    lowered
}

/// Answers whether a server needs an identity of the mesh.
fn shows_identity(server: &spec::Server) -> bool {
    speaks_tls(server)
        && server.tls.as_ref().and_then(|tls| tls.mode) == Some(ServerTlsMode::IstioMutual)
}

fn speaks_tls(server: &spec::Server) -> bool {
    let protocol = Protocol::from_name(&server.port.protocol);
    matches!(protocol, Some(Protocol::Https | Protocol::Tls))
}

fn server(server: &spec::Server, context: &Context<'_>) -> Server {
    let hosts = server.hosts.iter().map(|host| {
        let (namespace, host) = match host.split_once('/') {
            None | Some(("*", _)) => (None, host.trim_start_matches("*/")),
            Some((".", host)) => (Some(context.namespace.to_owned()), host),
            Some((namespace, host)) => (Some(namespace.to_owned()), host),
        };
        let domain = &context.settings.cluster_domain;
        ServerHost {
            namespace,
            host: HostPattern::resolve(host, context.namespace, domain),
        }
    });
    Server {
        name: server.name.clone(),
        port: port(server.port.number),
        port_name: server.port.name.clone(),
        protocol: Protocol::from_name(&server.port.protocol).unwrap_or(Protocol::Tcp),
        bind: server.bind.clone(),
        hosts: hosts.collect(),
        https_redirect: server.tls.as_ref().is_some_and(|tls| tls.https_redirect),
        tls: speaks_tls(server).then(|| server_tls(server.tls.as_ref())),
    }
}

fn server_tls(spec: Option<&ServerTls>) -> model::ServerTls {
    let Some(spec) = spec else {
        return model::ServerTls::default();
    };
    let mode = mode(spec.mode.unwrap_or_default());
    let asks_clients = matches!(
        mode,
        model::ServerTlsMode::Mutual | model::ServerTlsMode::OptionalMutual
    );
    model::ServerTls {
        mode,
        certificates: if mode.ends_tls() {
            certificates(spec)
        } else {
            Vec::new()
        },
        client_ca: asks_clients.then(|| client_ca(spec)).flatten(),
        ca_crl: spec.ca_crl.clone(),
        subject_alt_names: spec.subject_alt_names.clone(),
        verify_certificate_spki: spec.verify_certificate_spki.clone(),
        verify_certificate_hash: spec.verify_certificate_hash.clone(),
        min_version: version(spec.min_protocol_version),
        max_version: version(spec.max_protocol_version),
        cipher_suites: spec.cipher_suites.clone(),
        ecdh_curves: spec.ecdh_curves.clone(),
        insecure_skip_verify: spec.insecure_skip_verify.unwrap_or_default(),
    }
}

fn mode(spec: ServerTlsMode) -> model::ServerTlsMode {
    match spec {
        ServerTlsMode::Passthrough => model::ServerTlsMode::Passthrough,
        ServerTlsMode::AutoPassthrough => model::ServerTlsMode::AutoPassthrough,
        ServerTlsMode::Simple => model::ServerTlsMode::Simple,
        ServerTlsMode::Mutual => model::ServerTlsMode::Mutual,
        ServerTlsMode::OptionalMutual => model::ServerTlsMode::OptionalMutual,
        ServerTlsMode::IstioMutual => model::ServerTlsMode::IstioMutual,
    }
}

/// What a server shows; validation saw to it that there is one source.
fn certificates(spec: &ServerTls) -> Vec<Certificate> {
    let single = (!spec.credential_name.is_empty()).then_some(&spec.credential_name);
    let names = single.into_iter().chain(&spec.credential_names);
    let secrets = names.map(|name| Certificate::Secret(secret(name).to_owned()));
    let file = (!spec.server_certificate.is_empty())
        .then_some((&spec.server_certificate, &spec.private_key));
    let pairs = spec.tls_certificates.iter();
    let files = file
        .into_iter()
        .chain(pairs.map(|pair| (&pair.server_certificate, &pair.private_key)))
        .map(|(chain, private_key)| Certificate::Files {
            chain: chain.clone(),
            private_key: private_key.clone(),
        });
    secrets.chain(files).collect()
}

/// Who signs clients: what is named for it, else what lies beside the certificate.
fn client_ca(spec: &ServerTls) -> Option<ClientCa> {
    if !spec.ca_cert_credential_name.is_empty() {
        let name = secret(&spec.ca_cert_credential_name);
        return Some(ClientCa::Secret(name.to_owned()));
    }
    if !spec.ca_certificates.is_empty() {
        return Some(ClientCa::File(spec.ca_certificates.clone()));
    }
    let mut names = spec.credential_names.iter();
    let name = if spec.credential_name.is_empty() {
        names.next()
    } else {
        Some(&spec.credential_name)
    };
    let beside = name.map(|name| ClientCa::Secret(format!("{}{AUTHORITIES_ENDING}", secret(name))));
    let mut pairs = spec.tls_certificates.iter();
    beside.or_else(|| {
        let pair = pairs.find(|pair| !pair.ca_certificates.is_empty())?;
        Some(ClientCa::File(pair.ca_certificates.clone()))
    })
}

/// The name of a Secret, which may be written as Istio writes its resource.
fn secret(name: &str) -> &str {
    name.strip_prefix("kubernetes://").unwrap_or(name)
}

fn version(spec: Option<TlsVersion>) -> model::TlsVersion {
    match spec {
        None | Some(TlsVersion::Auto) => model::TlsVersion::Auto,
        Some(TlsVersion::V1_0) => model::TlsVersion::V1_0,
        Some(TlsVersion::V1_1) => model::TlsVersion::V1_1,
        Some(TlsVersion::V1_2) => model::TlsVersion::V1_2,
        Some(TlsVersion::V1_3) => model::TlsVersion::V1_3,
    }
}
