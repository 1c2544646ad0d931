//! Opens and closes the sockets of the data path as the plan says.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lateen_decide::Plan;
use lateen_model::proxy::Role;

use crate::connection::Door;
use crate::worker::crew::Crew;

/// The sockets of the data path.
#[derive(Debug)]
pub struct Listeners {
    /// What is listened to whatever the plan says, once there is one.
    fixed: Vec<(SocketAddr, Door)>,
    bind: IpAddr,
    /// What is open, by the address that was asked for, with the one that was bound.
    open: BTreeMap<SocketAddr, SocketAddr>,
    errors: BTreeMap<SocketAddr, String>,
}

// === impl Listeners ===

impl Listeners {
    /// A sidecar listens to two ports, a gateway to those of its plan.
    pub fn new(role: Role, bind: IpAddr, outbound: u16, inbound: u16) -> Self {
        let fixed = match role {
            Role::Gateway => Vec::new(),
            Role::Sidecar => vec![
                (SocketAddr::new(bind, outbound), Door::Outbound),
                (SocketAddr::new(bind, inbound), Door::Inbound),
            ],
        };
        Self {
            fixed,
            bind,
            open: BTreeMap::new(),
            errors: BTreeMap::new(),
        }
    }

    /// Opens what is missing and closes what is no longer wanted.
    pub fn reconcile(&mut self, plan: &Plan, crew: &Crew) {
        let mut wanted: BTreeMap<SocketAddr, Door> = self.fixed.iter().copied().collect();
        for listener in plan.listeners() {
            let ip = listener.bind.unwrap_or(self.bind);
            wanted.insert(SocketAddr::new(ip, listener.port), Door::Gateway);
        }
        self.open.retain(|asked, bound| {
            let stays = wanted.contains_key(asked);
            if !stays {
                tracing::info!(address = %bound, "no longer listening");
                crew.unlisten(*bound);
            }
            stays
        });
        self.errors.retain(|asked, _| wanted.contains_key(asked));
        for (address, door) in wanted {
            if !self.open.contains_key(&address) {
                self.listen(address, door, crew);
            }
        }
    }

    /// Answers whether some socket could not be opened.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// What could not be opened, and why.
    pub fn errors(&self) -> Vec<String> {
        self.errors.values().cloned().collect()
    }

    fn listen(&mut self, address: SocketAddr, door: Door, crew: &Crew) {
        match crew.listen(address, door) {
            Ok(bound) => {
                tracing::info!(address = %bound, ?door, "listening");
                self.errors.remove(&address);
                self.open.insert(address, bound);
            }
            Err(error) => {
                let text = format!("cannot listen on {address}: {error}");
                if self.errors.insert(address, text).is_none() {
                    tracing::error!(%address, ?door, %error,
                        "cannot listen; is the port taken, or does it need a privilege? Trying again");
                }
            }
        }
    }
}
