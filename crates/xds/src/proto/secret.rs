//! Credentials.

use lateen_model::secret::Secret;

use super::message;
use super::wire::{Fault, Wire, nonempty};

impl Wire for Secret {
    type Message = message::Secret;

    fn to_wire(&self) -> message::Secret {
        message::Secret {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            chain: self.chain.clone(),
            private_key: self.private_key.clone(),
            authorities: self.authorities.clone(),
            revoked: self.revoked.clone(),
            ocsp_staple: self.ocsp_staple.clone(),
        }
    }

    fn from_wire(wire: message::Secret) -> Result<Self, Fault> {
        Ok(Self {
            namespace: nonempty(wire.namespace, "namespace")?,
            name: nonempty(wire.name, "name")?,
            chain: wire.chain,
            private_key: wire.private_key,
            authorities: wire.authorities,
            revoked: wire.revoked,
            ocsp_staple: wire.ocsp_staple,
        })
    }
}
