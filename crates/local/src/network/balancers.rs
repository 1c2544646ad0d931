//! Services with ports on the host: those of type LoadBalancer, and those published from the start.
//!
//! A connection to a host port is brought to the service's cluster address, where nftables picks an
//! endpoint. A host port that was opened before the cluster takes its connections from the first
//! moment and refuses them until its service exists: who waits in front of a closed door asks again,
//! who waits behind an open one does not.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::ServicePort;
use crate::controllers::load_balancer::{Address, Name, Publisher, Report, Wanted};
use crate::publisher;

/// A host port that was opened before the cluster, and where it leads.
pub(crate) type Opened = (ServicePort, TcpListener);

/// How long a pause is after a connection could not be accepted.
const PAUSE: Duration = Duration::from_millis(50);

/// A host port that is open.
#[derive(Debug)]
struct Door {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    /// Whether it stays when its service goes.
    is_permanent: bool,
    task: JoinHandle<()>,
}

/// Every open host port, by the service's port that it leads to.
#[derive(Debug)]
struct Doors {
    doors: BTreeMap<ServicePort, Door>,
    outside: publisher::Client,
}

/// Brings connections of host ports to services, until the controllers end.
pub(crate) async fn run(
    opened: Vec<Opened>,
    mut wanted: Publisher,
    outside: publisher::Client,
) -> io::Result<()> {
    let mut doors = Doors {
        doors: BTreeMap::new(),
        outside,
    };
    for (service, listener) in opened {
        let door = Door::open(listener, None, true)?;
        doors.doors.insert(service, door);
    }
    let mut known: BTreeMap<Name, Wanted> = BTreeMap::new();
    while wanted.changed().await {
        let now = wanted.wanted();
        for name in known.keys().filter(|name| !now.contains_key(*name)) {
            doors.close(name);
        }
        for (name, service) in &now {
            if known.get(name) == Some(service) {
                continue;
            }
            wanted.report(doors.publish(name, service).await);
        }
        known = now;
    }
    Ok(())
}

// === impl Doors ===

impl Doors {
    /// Opens the ports of a service that are not yet open, and leads all of them to it.
    async fn publish(&mut self, name: &Name, service: &Wanted) -> Report {
        let target = service
            .cluster_ips
            .iter()
            .find(|address| address.is_ipv4())
            .copied();
        let mut ports = Vec::new();
        let mut problems = Vec::new();
        self.close_others(name, service);
        for port in &service.ports {
            let key = port_of(name, port.port);
            let opened = match (port.protocol.as_str(), target) {
                ("TCP", Some(target)) => self.lead(key, SocketAddr::new(target, port.port)).await,
                ("TCP", None) => Err(("NoClusterIP", "the service has no cluster address".into())),
                (protocol, _) => Err((
                    "ProtocolNotSupported",
                    format!("{protocol} ports are not published on the host"),
                )),
            };
            match opened {
                Ok(outside) => ports.push((outside, port.protocol.clone(), None)),
                Err((word, why)) => {
                    problems.push(format!("port {}: {why}", port.port));
                    let word = format!("lateen.dev/{word}");
                    ports.push((port.port, port.protocol.clone(), Some(word)));
                }
            }
        }
        let is_published = ports.iter().any(|(_, _, error)| error.is_none());
        let address = Address {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports,
        };
        Report {
            name: name.clone(),
            uid: service.uid.clone(),
            addresses: is_published.then_some(address).into_iter().collect(),
            problem: (!problems.is_empty()).then(|| problems.join("; ")),
        }
    }

    /// Leads the host port of a service's port to `target`; returns its number on the host.
    async fn lead(
        &mut self,
        key: ServicePort,
        target: SocketAddr,
    ) -> Result<u16, (&'static str, String)> {
        if let Some(door) = self.doors.get(&key) {
            door.target.send_replace(Some(target));
            return Ok(door.address.port());
        }
        let open = async {
            let listener = self.listen(key.port).await?;
            Door::open(listener, Some(target), false)
        };
        let door = open
            .await
            .map_err(|error| ("AddressNotAvailable", error.to_string()))?;
        let number = door.address.port();
        self.doors.insert(key, door);
        Ok(number)
    }

    /// The same port on the host if it is free, else any.
    async fn listen(&self, port: u16) -> io::Result<TcpListener> {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match self.outside.listen(at(port)).await {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                ) =>
            {
                self.outside.listen(at(0)).await
            }
            result => result,
        }
    }

    fn close(&mut self, name: &Name) {
        self.close_where(name, |_| true);
    }

    fn close_others(&mut self, name: &Name, service: &Wanted) {
        self.close_where(name, |port| {
            !service.ports.iter().any(|wanted| wanted.port == port)
        });
    }

    fn close_where(&mut self, name: &Name, is_to_close: impl Fn(u16) -> bool) {
        self.doors.retain(|key, door| {
            let is_its = key.namespace == name.namespace && key.name == name.name;
            if !is_its || !is_to_close(key.port) {
                return true;
            }
            door.target.send_replace(None);
            if !door.is_permanent {
                door.task.abort();
            }
            door.is_permanent
        });
    }
}

// === impl Door ===

impl Door {
    fn open(
        listener: TcpListener,
        target: Option<SocketAddr>,
        is_permanent: bool,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (target, watched) = watch::channel(target);
        Ok(Self {
            address,
            target,
            is_permanent,
            task: tokio::spawn(accept(listener, watched)),
        })
    }
}

async fn accept(listener: TcpListener, target: watch::Receiver<Option<SocketAddr>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let target = *target.borrow();
                tokio::spawn(async move {
                    if let Err(error) = relay(stream, target).await {
                        tracing::debug!(%error, ?target, "a connection of a host port ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connections to a host port cannot be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn relay(mut outside: TcpStream, target: Option<SocketAddr>) -> io::Result<()> {
    let connected = match target {
        Some(target) => TcpStream::connect(target).await,
        None => Err(io::ErrorKind::ConnectionRefused.into()),
    };
    let mut inside = match connected {
        Ok(stream) => stream,
        Err(error) => {
            // The caller sees a reset, as from a port where nobody listens.
            SockRef::from(&outside).set_linger(Some(Duration::ZERO))?;
            return Err(error);
        }
    };
    outside.set_nodelay(true)?;
    inside.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut outside, &mut inside).await?;
    Ok(())
}

fn port_of(name: &Name, port: u16) -> ServicePort {
    ServicePort {
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        port,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::controllers::load_balancer::Port;
    use crate::publisher::channel::{self, Channel};
    use crate::publisher::server;

    fn doors() -> Doors {
        let (inside, outside) = channel::pair().unwrap();
        tokio::spawn(server::serve(Channel::new(outside).unwrap()));
        Doors {
            doors: BTreeMap::new(),
            outside: publisher::Client::new(Channel::new(inside).unwrap()),
        }
    }

    fn name() -> Name {
        Name {
            namespace: "shop".into(),
            name: "web".into(),
        }
    }

    fn service(address: SocketAddr, protocol: &str) -> Wanted {
        Wanted {
            uid: "u".into(),
            cluster_ips: vec![address.ip()],
            ports: vec![Port {
                name: "http".into(),
                protocol: protocol.into(),
                port: address.port(),
                node_port: None,
            }],
        }
    }

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut reading, mut writing) = stream.split();
                let _ = tokio::io::copy(&mut reading, &mut writing).await;
            }
        });
        address
    }

    async fn ask(port: u16) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    #[tokio::test]
    async fn a_service_gets_another_port_when_its_own_is_taken() {
        let (mut doors, server) = (doors(), echo().await);
        let report = doors.publish(&name(), &service(server, "TCP")).await;
        let (port, _, error) = report.addresses[0].ports[0].clone();
        assert!(error.is_none() && port != server.port(), "{port}");
        assert_eq!(ask(port).await.unwrap(), "hello");
        doors.close(&name());
        assert!(doors.doors.is_empty());
    }

    #[tokio::test]
    async fn a_port_from_the_start_refuses_until_its_service_exists() {
        let (mut doors, server) = (doors(), echo().await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let door = Door::open(listener, None, true).unwrap();
        doors.doors.insert(port_of(&name(), server.port()), door);
        assert!(ask(port).await.is_err());
        let report = doors.publish(&name(), &service(server, "TCP")).await;
        assert_eq!(report.addresses[0].ports[0].0, port);
        assert_eq!(ask(port).await.unwrap(), "hello");
        doors.close(&name());
        assert!(ask(port).await.is_err());
    }

    #[tokio::test]
    async fn what_cannot_be_published_says_why() {
        let report = doors()
            .publish(&name(), &service("127.0.0.1:53".parse().unwrap(), "UDP"))
            .await;
        assert!(report.addresses.is_empty());
        assert_eq!(
            report.problem.unwrap(),
            "port 53: UDP ports are not published on the host"
        );
    }
}
