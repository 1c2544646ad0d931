//! Connections of TLS: the server that their name chooses, and what comes after it.

use std::net::{IpAddr, SocketAddr};

use lateen_decide::SniTable;
use lateen_decide::tls::{Choice, Ended, Terminated, TlsTable};
use lateen_model::Reason;
use lateen_model::gateway::{Certificate, ServerTlsMode};

use super::{Steps, likeliest};
use crate::answer::{Outcome, Server};

impl<'c> Steps<'c> {
    /// The name that the client asks for in its ClientHello: the host of the URL. Addresses are no
    /// names there (RFC 6066 §3).
    fn asked(&self) -> Option<&'c str> {
        let host = &self.question.host;
        host.parse::<IpAddr>().is_err().then_some(host)
    }

    /// A TLS connection by the name that it asks for; nothing if no rule has it.
    pub(super) fn server_name(
        &mut self,
        table: &SniTable,
        destination: SocketAddr,
    ) -> Option<Outcome> {
        let name = self.asked()?;
        let bits = self.question.bits();
        let (_, route) = table.decide(name.as_bytes(), destination, || bits.unwrap_or(0))?;
        let random = || bits.unwrap_or_else(|| likeliest(route));
        let (cluster, route) = table.decide(name.as_bytes(), destination, random)?;
        self.answer.virtual_host = Some(format!("SNI {name}"));
        Some(self.connect(cluster, route))
    }

    /// A connection of TLS to a gateway.
    pub(super) fn secure(&mut self, table: &'c TlsTable, destination: SocketAddr) -> Outcome {
        let name = self.asked();
        if name.is_none() {
            self.assume("the client asks for no server name, since the URL has an address".into());
        }
        let named = name.map_or_else(
            || "clients that ask for no name".into(),
            |name| format!("the server name {name}"),
        );
        match table.choose(name.map(str::as_bytes)) {
            None => {
                let why = format!(
                    "no server of the listener is for {named}: none has the host, or the one that \
                     has it passes TLS on, and no tls rule of a VirtualService says where to"
                );
                Outcome::closed(Reason::NoRoute, why)
            }
            Some(Choice::Passed(table)) => {
                self.server_name(table, destination).unwrap_or_else(|| {
                    let why = format!("no tls rule of a VirtualService takes it for {named}");
                    Outcome::closed(Reason::NoRoute, why)
                })
            }
            Some(Choice::Mesh(route)) => {
                self.assume("the client offers a protocol of the mesh (ALPN)".into());
                self.connection(route, destination)
            }
            Some(Choice::Ended(server)) => {
                self.end(server);
                match &server.serve {
                    Ended::Http(table) => self.request(table),
                    Ended::Tcp(route) => self.connection(route, destination),
                }
            }
        }
    }

    /// Notes where TLS ends, and what that takes for granted.
    fn end(&mut self, server: &Terminated) {
        let namespace = &self.caller.namespace;
        let shown = server.tls.certificates.iter().map(|one| match one {
            Certificate::Secret(name) => format!("Secret/{namespace}/{name}"),
            Certificate::Files { chain, .. } => format!("file {chain}"),
        });
        let shown = Server {
            name: server.name.to_string(),
            gateway: server.origin.to_string(),
            certificates: shown.collect(),
        };
        self.assume(format!(
            "the certificate can be used: {}",
            shown.certificates.join(", ")
        ));
        if server.tls.mode == ServerTlsMode::Mutual && !server.tls.insecure_skip_verify {
            self.assume("the client shows a certificate that the server lets in".into());
        }
        self.answer.server = Some(shown);
    }
}
