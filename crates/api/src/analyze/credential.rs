//! The Secrets that Gateways name: whether they are beside the gateway's pods, and whether what they
//! hold can be used.
//!
//! It reads no certificate: what one is worth is judged by whoever calls, because this crate knows
//! nothing of keys. Nor does anything that a Secret holds get into a message from here.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lateen_model::secret::{self, AUTHORITIES_ENDING};
use lateen_model::selects;
use serde_json::Value;

use super::set::{Parsed, Set, Workload};
use super::{Entry, Findings, Level, Options, code};
use crate::spec::gateway::Gateway;
use crate::spec::tls::{ServerTls, ServerTlsMode};

/// What a Secret holds, by key.
pub type Data = BTreeMap<String, Vec<u8>>;

/// A Secret that a Gateway names, for whoever judges it. One of the two is there.
#[derive(Debug, Clone, Copy)]
pub struct Credential<'a> {
    /// The namespace of the gateway's pods.
    pub namespace: &'a str,
    /// The name that the Gateway gives, or that follows from it.
    pub name: &'a str,
    /// What for.
    pub need: Need,
    /// The Secret of this name.
    pub own: Option<&'a Data>,
    /// The one that stands in for it (see [`secret::base`]).
    pub base: Option<&'a Data>,
}

/// What a Gateway needs of a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A certificate to show, with its key.
    Pair,
    /// The authorities by which clients are checked.
    Authorities,
}

/// Something that is wrong with a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// How grave it is.
    pub level: Level,
    /// What it is; nothing secret.
    pub text: String,
}

/// Finds what is wrong with a credential.
pub type Judge<'a> = &'a dyn Fn(&Credential<'_>) -> Vec<Flaw>;

/// The Secrets of an analysis by namespace and name.
pub(super) struct Secrets(BTreeMap<(String, String), Content>);

/// What is known of a Secret.
enum Content {
    /// Only that it exists.
    Unknown,
    Holds(Data),
    /// It is no Secret that an API server takes, and why.
    Unreadable(String),
}

/// A Secret that a server names.
struct Named {
    /// The field of the server's `tls`.
    field: String,
    name: String,
    need: Need,
}

/// The Secrets of the cluster of which a Gateway needs the content, as namespace and name, where it
/// is not among the objects yet.
pub fn missing(entries: &[Entry], options: &Options) -> BTreeSet<(String, String)> {
    let set = Set::new(entries, options);
    let secrets = Secrets::of(&set);
    let workloads = set.workloads();
    let mut missing = BTreeSet::new();
    for gateway in &set.gateways() {
        let selected = workloads
            .iter()
            .filter(|w| selects(&gateway.spec.selector, &w.labels));
        let namespaces = namespaces(gateway, selected);
        for named in gateway
            .spec
            .servers
            .iter()
            .flat_map(|s| named(s.tls.as_ref()))
        {
            for namespace in &namespaces {
                let names = [Some(named.name.as_str()), secret::base(&named.name)];
                for name in names.into_iter().flatten() {
                    if let Some(Content::Unknown) = secrets.get(namespace, name) {
                        missing.insert(((*namespace).to_owned(), name.to_owned()));
                    }
                }
            }
        }
    }
    missing
}

/// Analyses the Secrets of a Gateway. Where no Secrets are known, nothing can be said: whoever writes
/// files rarely puts keys among them.
pub(super) fn analyze(
    gateway: &Parsed<'_, Gateway>,
    selected: &[&Workload<'_>],
    secrets: &Secrets,
    judge: Judge<'_>,
    findings: &mut Findings,
) {
    if secrets.0.is_empty() {
        return;
    }
    let namespaces = namespaces(gateway, selected.iter().copied());
    for (index, server) in gateway.spec.servers.iter().enumerate() {
        for named in named(server.tls.as_ref()) {
            let field = format!("spec.servers[{index}].tls.{}", named.field);
            for namespace in &namespaces {
                match secrets.find(namespace, &named.name) {
                    Found::Absent if named.need == Need::Authorities && named.is_derived() => {
                        // That there is no Secret at all is told for the certificate.
                    }
                    Found::Absent => {
                        let text = secrets.absent(namespace, &named.name);
                        findings.add(&code::REFERENCE, gateway.subject, &field, text);
                    }
                    Found::Unknown => {}
                    Found::Unreadable(why) => {
                        let text = format!("Secret {namespace}/{} is not valid: {why}", named.name);
                        findings.add(&code::INVALID_CREDENTIAL, gateway.subject, &field, text);
                    }
                    Found::Holds { own, base } => {
                        let flaws = judge(&Credential {
                            namespace,
                            name: &named.name,
                            need: named.need,
                            own,
                            base,
                        });
                        for Flaw { level, text } in flaws {
                            let code = &code::INVALID_CREDENTIAL;
                            findings.add_at(level, code, gateway.subject, &field, text);
                        }
                    }
                }
            }
        }
    }
}

/// The namespaces in which a Gateway's proxies look for Secrets. One that selects everything selects
/// every gateway there is, which pods do not tell.
fn namespaces<'a>(
    gateway: &Parsed<'_, Gateway>,
    selected: impl Iterator<Item = &'a Workload<'a>>,
) -> BTreeSet<&'a str> {
    if gateway.spec.selector.is_empty() {
        return BTreeSet::new();
    }
    selected
        .map(|workload| workload.subject.namespace)
        .collect()
}

/// The Secrets that a server names. Other schemes than Kubernetes' are other sources.
fn named(tls: Option<&ServerTls>) -> Vec<Named> {
    let Some(tls) = tls else { return Vec::new() };
    let mode = tls.mode.unwrap_or_default();
    let asks_clients = matches!(mode, ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual);
    if !asks_clients && mode != ServerTlsMode::Simple {
        return Vec::new();
    }
    let plain = |name: &str| {
        let name = name.strip_prefix("kubernetes://").unwrap_or(name);
        (!name.is_empty() && !name.contains("://")).then(|| name.to_owned())
    };
    let one = ("credentialName".to_owned(), &tls.credential_name);
    let more = tls.credential_names.iter().enumerate();
    let more = more.map(|(index, name)| (format!("credentialNames[{index}]"), name));
    let pairs = std::iter::once(one).chain(more);
    let mut all: Vec<Named> = pairs
        .filter_map(|(field, name)| {
            let (name, need) = (plain(name)?, Need::Pair);
            Some(Named { field, name, need })
        })
        .collect();
    if !asks_clients || tls.insecure_skip_verify == Some(true) {
        return all;
    }
    // As a Gateway is lowered: what is named for it, else what lies beside the first certificate.
    let authorities = if !tls.ca_cert_credential_name.is_empty() {
        plain(&tls.ca_cert_credential_name).map(|name| ("caCertCredentialName".to_owned(), name))
    } else if tls.ca_certificates.is_empty() {
        let first = all.first();
        first.map(|pair| {
            (
                pair.field.clone(),
                format!("{}{AUTHORITIES_ENDING}", pair.name),
            )
        })
    } else {
        None
    };
    all.extend(authorities.map(|(field, name)| Named {
        field,
        name,
        need: Need::Authorities,
    }));
    all
}

/// What the objects say of a name.
enum Found<'s> {
    /// Neither it nor what stands in for it exists.
    Absent,
    /// It exists, but what it holds is not among the objects.
    Unknown,
    Unreadable(&'s str),
    Holds {
        own: Option<&'s Data>,
        base: Option<&'s Data>,
    },
}

// === impl Named ===

impl Named {
    /// Answers whether its name follows from that of a certificate.
    fn is_derived(&self) -> bool {
        self.field != "caCertCredentialName"
    }
}

// === impl Secrets ===

impl Secrets {
    /// Those among the objects.
    pub(super) fn of(set: &Set<'_>) -> Self {
        let all = set.of("", "Secret").map(|subject| {
            let object = subject.object.0;
            let content = if subject.is_of_cluster() && object.get("data").is_none() {
                Content::Unknown
            } else {
                read(object).map_or_else(Content::Unreadable, Content::Holds)
            };
            let name = subject.object.name().to_owned();
            ((subject.namespace.to_owned(), name), content)
        });
        Self(all.collect())
    }

    fn get(&self, namespace: &str, name: &str) -> Option<&Content> {
        self.0.get(&(namespace.to_owned(), name.to_owned()))
    }

    fn find(&self, namespace: &str, name: &str) -> Found<'_> {
        let own = self.get(namespace, name);
        let base = secret::base(name).and_then(|base| self.get(namespace, base));
        let mut data = [None; 2];
        for (place, content) in data.iter_mut().zip([own, base]) {
            match content {
                None => {}
                Some(Content::Unknown) => return Found::Unknown,
                Some(Content::Unreadable(why)) => return Found::Unreadable(why),
                Some(Content::Holds(held)) => *place = Some(held),
            }
        }
        match data {
            [None, None] => Found::Absent,
            [own, base] => Found::Holds { own, base },
        }
    }

    /// What to say of a Secret that does not exist.
    fn absent(&self, namespace: &str, name: &str) -> String {
        let mut others = self.0.keys().filter(|(_, other)| *other == name);
        let hint = others.next().map_or_else(String::new, |(elsewhere, _)| {
            format!(", and the one in {elsewhere} is not")
        });
        format!(
            "the Secret {namespace}/{name} does not exist; it must be in the namespace of the \
             gateway's pods{hint}"
        )
    }
}

/// What a Secret holds; `stringData` counts, too, in files.
fn read(object: &Value) -> Result<Data, String> {
    let mut data = Data::new();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        let decoded = decoded.ok_or_else(|| format!("data.{key} is not base64"))?;
        data.insert(key.clone(), decoded);
    }
    for (key, value) in object["stringData"].as_object().into_iter().flatten() {
        let text = value.as_str();
        let text = text.ok_or_else(|| format!("stringData.{key} is not a string"))?;
        data.insert(key.clone(), text.as_bytes().to_vec());
    }
    Ok(data)
}
