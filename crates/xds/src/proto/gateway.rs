//! Gateways.

use lateen_model::gateway::{
    Certificate, ClientCa, Gateway, Server, ServerHost, ServerTls, ServerTlsMode, TlsVersion,
};

use super::message;
use super::service::{protocol, protocol_to_wire};
use super::wire::{Fault, Wire, list, missing, nonempty, optional, pattern, wire_enum, wire_list};

impl Wire for Gateway {
    type Message = message::Gateway;

    fn to_wire(&self) -> message::Gateway {
        message::Gateway {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            selector: self.selector.clone(),
            servers: wire_list(&self.servers),
        }
    }

    fn from_wire(wire: message::Gateway) -> Result<Self, Fault> {
        Ok(Self {
            namespace: nonempty(wire.namespace, "namespace")?,
            name: nonempty(wire.name, "name")?,
            selector: wire.selector,
            servers: list(wire.servers, "servers")?,
        })
    }
}

impl Wire for Server {
    type Message = message::Server;

    fn to_wire(&self) -> message::Server {
        message::Server {
            name: self.name.clone(),
            port: u32::from(self.port),
            port_name: self.port_name.clone(),
            protocol: protocol_to_wire(self.protocol),
            bind: self.bind.clone(),
            hosts: wire_list(&self.hosts),
            https_redirect: self.https_redirect,
            tls: self.tls.as_ref().map(Wire::to_wire),
        }
    }

    fn from_wire(wire: message::Server) -> Result<Self, Fault> {
        let port = u16::try_from(wire.port);
        Ok(Self {
            name: wire.name,
            // 0 is the port of a Unix socket.
            port: port.map_err(|e| Fault::new(e.to_string()).at("port"))?,
            port_name: wire.port_name,
            protocol: protocol(wire.protocol, "protocol")?,
            bind: wire.bind,
            hosts: list(wire.hosts, "hosts")?,
            https_redirect: wire.https_redirect,
            tls: optional(wire.tls, "tls")?,
        })
    }
}

wire_enum!(
    mode_to_wire,
    mode,
    ServerTlsMode {
        Passthrough = 1,
        AutoPassthrough = 2,
        Simple = 3,
        Mutual = 4,
        OptionalMutual = 5,
        IstioMutual = 6,
    }
);

wire_enum!(
    version_to_wire,
    version,
    TlsVersion {
        Auto = 1,
        V1_0 = 2,
        V1_1 = 3,
        V1_2 = 4,
        V1_3 = 5,
    }
);

impl Wire for ServerTls {
    type Message = message::ServerTls;

    fn to_wire(&self) -> message::ServerTls {
        message::ServerTls {
            mode: mode_to_wire(self.mode),
            certificates: wire_list(&self.certificates),
            client_ca: self.client_ca.as_ref().map(Wire::to_wire),
            ca_crl: self.ca_crl.clone(),
            subject_alt_names: self.subject_alt_names.clone(),
            verify_certificate_spki: self.verify_certificate_spki.clone(),
            verify_certificate_hash: self.verify_certificate_hash.clone(),
            min_version: version_to_wire(self.min_version),
            max_version: version_to_wire(self.max_version),
            cipher_suites: self.cipher_suites.clone(),
            ecdh_curves: self.ecdh_curves.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
        }
    }

    fn from_wire(wire: message::ServerTls) -> Result<Self, Fault> {
        Ok(Self {
            mode: mode(wire.mode, "mode")?,
            certificates: list(wire.certificates, "certificates")?,
            client_ca: optional(wire.client_ca, "client_ca")?,
            ca_crl: wire.ca_crl,
            subject_alt_names: wire.subject_alt_names,
            verify_certificate_spki: wire.verify_certificate_spki,
            verify_certificate_hash: wire.verify_certificate_hash,
            min_version: version(wire.min_version, "min_version")?,
            max_version: version(wire.max_version, "max_version")?,
            cipher_suites: wire.cipher_suites,
            ecdh_curves: wire.ecdh_curves,
            insecure_skip_verify: wire.insecure_skip_verify,
        })
    }
}

impl Wire for Certificate {
    type Message = message::Certificate;

    fn to_wire(&self) -> message::Certificate {
        let mut wire = message::Certificate::default();
        match self {
            Self::Secret(name) => wire.secret.clone_from(name),
            Self::Files { chain, private_key } => {
                wire.chain.clone_from(chain);
                wire.private_key.clone_from(private_key);
            }
        }
        wire
    }

    fn from_wire(wire: message::Certificate) -> Result<Self, Fault> {
        if !wire.secret.is_empty() {
            return Ok(Self::Secret(wire.secret));
        }
        Ok(Self::Files {
            chain: nonempty(wire.chain, "chain")?,
            private_key: nonempty(wire.private_key, "private_key")?,
        })
    }
}

impl Wire for ClientCa {
    type Message = message::ClientCa;

    fn to_wire(&self) -> message::ClientCa {
        let mut wire = message::ClientCa::default();
        match self {
            Self::Secret(name) => wire.secret.clone_from(name),
            Self::File(file) => wire.file.clone_from(file),
        }
        wire
    }

    fn from_wire(wire: message::ClientCa) -> Result<Self, Fault> {
        match (wire.secret, wire.file) {
            (secret, _) if !secret.is_empty() => Ok(Self::Secret(secret)),
            (_, file) if !file.is_empty() => Ok(Self::File(file)),
            _ => Err(missing().at("secret")),
        }
    }
}

impl Wire for ServerHost {
    type Message = message::ServerHost;

    fn to_wire(&self) -> message::ServerHost {
        message::ServerHost {
            namespace: self.namespace.clone(),
            host: self.host.to_string(),
        }
    }

    fn from_wire(wire: message::ServerHost) -> Result<Self, Fault> {
        Ok(Self {
            namespace: wire.namespace,
            host: pattern(&wire.host).map_err(|fault| fault.at("host"))?,
        })
    }
}
