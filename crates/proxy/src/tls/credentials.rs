//! What servers show and whom they let in, of which the main thread makes what workers use.
//!
//! ```text
//! plan ─► names of Secrets, paths of files ─┐
//! Secrets, from the control plane ──────────┼─► Server, one for each server that ends TLS
//! files, looked at every few seconds ───────┘
//! ```
//!
//! A server that cannot be made of what has come keeps what it was made of before, so that a bad
//! Secret never takes a service away; the reason is in the log, among the errors of listeners and
//! in the answer to the control plane. One that was never made closes its connections. Keys are
//! never written, logged or shown.

mod inputs;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use lateen_decide::tls::Ended;
use lateen_decide::{Plan, ServerId, Terminated};
use lateen_model::gateway::{ServerTls, ServerTlsMode, TlsVersion};
use lateen_model::secret::Secret;
use lateen_wire::tls::{Certificate, Clients, Pair, Server, Settings, Version, Versions};
use serde_json::{Value, json};

use crate::observe::calendar;
use crate::published::Servers;
use inputs::{Authorities, Inputs, Shown};

/// What requests over TLS may be spoken in, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The credentials of a proxy.
#[derive(Debug, Default)]
pub struct Credentials {
    inputs: Inputs,
    built: BTreeMap<ServerId, Built>,
    servers: Arc<Servers>,
}

/// What is to be asked for from now on, and what no longer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Names of Secrets, as `namespace/name`.
    pub watch: Vec<String>,
    /// The same.
    pub forget: Vec<String>,
}

/// A server as far as it could be made.
#[derive(Debug)]
struct Built {
    name: String,
    /// The revisions of what it was made of.
    recipe: Vec<u64>,
    secrets: BTreeSet<String>,
    /// The last one that could be made.
    server: Option<Server>,
    /// Why the latest could not; empty if it could.
    error: String,
}

// === impl Credentials ===

impl Credentials {
    /// Takes a Secret over. Whether it is of use shows with the next [`Self::update`].
    pub fn put(&mut self, secret: Secret) {
        self.inputs.put(secret);
    }

    /// Takes note that there is no Secret of this name for the proxy.
    pub fn absent(&mut self, name: &str) {
        self.inputs.absent(name);
    }

    /// Looks at files again; answers whether one has changed.
    pub fn refresh_files(&mut self) -> bool {
        self.inputs.refresh_files()
    }

    /// Makes what the servers of a plan need, as far as it is new.
    pub fn update(&mut self, plan: &Plan) -> Interest {
        let namespace = plan.proxy().map_or("", |proxy| proxy.namespace.as_str());
        let terminated = plan.all_terminated();
        let tls = terminated.iter().map(|server| &*server.tls);
        let interest = self.inputs.want(namespace, tls);
        let mut last = std::mem::take(&mut self.built);
        let mut is_changed = last.len() != terminated.len();
        for server in terminated {
            let recipe = self.inputs.recipe(namespace, &server.tls);
            let known = last.remove(&server.id);
            let built = match known {
                Some(known) if known.recipe == recipe => known,
                known => {
                    is_changed = true;
                    self.build(namespace, server, recipe, known.as_ref())
                }
            };
            self.built.insert(server.id, built);
        }
        if is_changed {
            let made = self.built.iter();
            let made = made.filter_map(|(id, built)| Some((*id, built.server.clone()?)));
            self.servers = Arc::new(made.collect());
        }
        interest
    }

    /// The servers that can be used.
    pub fn servers(&self) -> Arc<Servers> {
        Arc::clone(&self.servers)
    }

    /// Why a Secret is of no use to a server that names it; nothing if it is.
    pub fn refused(&self, name: &str) -> Option<&str> {
        let mut built = self.built.values();
        let refused = |one: &&Built| !one.error.is_empty() && one.secrets.contains(name);
        built.find(refused).map(|one| one.error.as_str())
    }

    /// What is wrong, one line for each server.
    pub fn errors(&self) -> impl Iterator<Item = String> {
        let failed = self.built.values().filter(|one| !one.error.is_empty());
        failed.map(|one| one.error.clone())
    }

    /// What is shown to clients: names and times, never a key.
    pub fn describe(&self) -> Vec<Value> {
        self.built.values().map(Built::describe).collect()
    }

    fn build(
        &self,
        namespace: &str,
        terminated: &Terminated,
        recipe: Vec<u64>,
        last: Option<&Built>,
    ) -> Built {
        let made = self.make(namespace, terminated);
        let name = terminated.name.to_string();
        let secrets = inputs::secrets(namespace, &terminated.tls).collect();
        let last_error = last.map_or("", |last| last.error.as_str());
        let (server, error) = match made {
            Ok(server) => {
                announce(&name, &server);
                (Some(server), String::new())
            }
            Err(why) => {
                let kept = last.and_then(|last| last.server.clone());
                let then = match kept {
                    Some(_) => "what it had before stays in use",
                    None => "its connections are closed until it can",
                };
                let object = &terminated.origin;
                let error = format!("{object}: the server {name} cannot end TLS: {why}; {then}");
                if error != last_error {
                    tracing::warn!("{error}");
                }
                (kept, error)
            }
        };
        Built {
            name,
            recipe,
            secrets,
            server,
            error,
        }
    }

    fn make(&self, namespace: &str, terminated: &Terminated) -> Result<Server, String> {
        let tls = &*terminated.tls;
        let shown: Result<Vec<Shown<'_>>, String> = tls
            .certificates
            .iter()
            .map(|certificate| self.inputs.shown(namespace, certificate))
            .collect();
        let shown = shown?;
        let authorities = match tls.mode {
            ServerTlsMode::Mutual | ServerTlsMode::OptionalMutual => {
                Some(self.inputs.authorities(namespace, tls)?)
            }
            ServerTlsMode::Simple
            | ServerTlsMode::Passthrough
            | ServerTlsMode::AutoPassthrough
            | ServerTlsMode::IstioMutual => None,
        };
        let settings = Settings {
            pairs: shown.iter().map(Shown::pair).collect(),
            clients: authorities.as_ref().map(|found| clients(tls, found)),
            versions: Versions {
                oldest: version(tls.min_version),
                newest: version(tls.max_version),
            },
            cipher_suites: &tls.cipher_suites,
            groups: &tls.ecdh_curves,
            protocols: match terminated.serve {
                Ended::Http(_) => &PROTOCOLS,
                Ended::Tcp(_) => &[],
            },
            now: now(),
        };
        settings.build().map_err(|error| error.to_string())
    }
}

// === impl Built ===

impl Built {
    fn describe(&self) -> Value {
        let state = match (&self.server, self.error.is_empty()) {
            (Some(_), true) => "ACTIVE",
            (Some(_), false) => "STALE",
            (None, _) => "MISSING",
        };
        let certificates = self.server.iter().flat_map(|server| &server.certificates);
        json!({
            "server": self.name,
            "state": state,
            "error": self.error,
            "secrets": self.secrets,
            "warnings": self.server.as_ref().map(|server| server.warnings.as_slice()),
            "certificates": certificates.map(|it| describe(it)).collect::<Vec<_>>(),
        })
    }
}

fn describe(certificate: &Certificate) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "names": certificate.names().collect::<Vec<_>>(),
        "notBefore": moment(certificate.not_before),
        "notAfter": moment(certificate.not_after),
        "sha256": certificate.hash,
    })
}

/// Says what a server shows from now on, and what will be a problem.
fn announce(name: &str, server: &Server) {
    for shown in &server.certificates {
        let (subject, serial) = (&shown.subject, &shown.serial);
        let expires = moment(shown.not_after);
        tracing::info!(server = %name, %subject, %serial, %expires, "showing a certificate");
    }
    for warning in &server.warnings {
        tracing::warn!(server = %name, "{warning}");
    }
}

fn clients<'a>(tls: &'a ServerTls, found: &'a Authorities<'_>) -> Clients<'a> {
    Clients {
        what: &found.what,
        authorities: found.signers,
        revoked: &found.revoked,
        is_required: tls.mode == ServerTlsMode::Mutual,
        names: &tls.subject_alt_names,
        key_hashes: &tls.verify_certificate_spki,
        certificate_hashes: &tls.verify_certificate_hash,
        lets_all_in: tls.insecure_skip_verify,
    }
}

fn version(limit: TlsVersion) -> Option<Version> {
    match limit {
        TlsVersion::Auto => None,
        TlsVersion::V1_0 | TlsVersion::V1_1 => Some(Version::Older),
        TlsVersion::V1_2 => Some(Version::V1_2),
        TlsVersion::V1_3 => Some(Version::V1_3),
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// A moment as people write it.
fn moment(seconds: i64) -> String {
    let mut text = Vec::new();
    calendar::write_iso_seconds(&mut text, seconds);
    String::from_utf8_lossy(&text).into_owned()
}

impl<'a> Shown<'a> {
    fn pair(&'a self) -> Pair<'a> {
        Pair {
            what: &self.what,
            chain: self.chain,
            key: self.key,
            ocsp: self.ocsp,
        }
    }
}
