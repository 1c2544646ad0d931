//! TLS towards a destination.

use lateen_model::tls::{ClientTls, ClientTlsMode};

use super::message;
use super::wire::{Fault, Wire, wire_enum};

wire_enum!(
    mode_to_wire,
    mode,
    ClientTlsMode {
        Disable = 1,
        Simple = 2,
        Mutual = 3,
        IstioMutual = 4,
    }
);

impl Wire for ClientTls {
    type Message = message::ClientTls;

    fn to_wire(&self) -> message::ClientTls {
        message::ClientTls {
            mode: mode_to_wire(self.mode),
            client_certificate: self.client_certificate.clone(),
            private_key: self.private_key.clone(),
            ca_certificates: self.ca_certificates.clone(),
            ca_crl: self.ca_crl.clone(),
            credential_name: self.credential_name.clone(),
            sni: self.sni.clone(),
            subject_alt_names: self.subject_alt_names.clone(),
            insecure_skip_verify: self.insecure_skip_verify,
        }
    }

    fn from_wire(wire: message::ClientTls) -> Result<Self, Fault> {
        Ok(Self {
            mode: mode(wire.mode, "mode")?,
            client_certificate: wire.client_certificate,
            private_key: wire.private_key,
            ca_certificates: wire.ca_certificates,
            ca_crl: wire.ca_crl,
            credential_name: wire.credential_name,
            sni: wire.sni,
            subject_alt_names: wire.subject_alt_names,
            insecure_skip_verify: wire.insecure_skip_verify,
        })
    }
}
