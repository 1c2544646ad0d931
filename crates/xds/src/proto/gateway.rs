//! Gateways.

use lateen_model::gateway::{Gateway, Server, ServerHost};

use super::message;
use super::service::{protocol, protocol_to_wire};
use super::wire::{Fault, Wire, list, nonempty, pattern, wire_list};

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
        })
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
