//! The way out: connections of pods to addresses that are neither pods nor services.
//!
//! The cluster's namespace has no route to the outside. nftables sends such connections to a
//! listener of the supervisor, which learns where they were going, has the publisher dial that
//! outside, and copies bytes both ways, half-closed connections included.

use std::net::{Ipv4Addr, SocketAddr};

use ipnet::Ipv4Net;
use lateen_capture::nft::{
    Base, Chain, Family, Field, Ip, Match, Protocol, Rule, Set, Statement, Table, Value,
};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use crate::publisher;

const TABLE: &str = "lateen-egress";

/// The table that sends what leaves the cluster to `relay`, an address of the supervisor.
pub(crate) fn table(inside: &[Ipv4Net], relay: (Ipv4Addr, u16)) -> Table {
    // Never the host's own loopback, link-local or multicast: these mean something else in a pod.
    let special = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"];
    let special = special
        .iter()
        .map(|net| net.parse::<Ipv4Net>().expect("the text is a network"));
    let kept = inside.iter().copied().chain(special).fold(
        Set::of_ranges("inside", Field::DestinationAddress(Ip::V4)),
        |set, net| set.element(vec![Value::Network(net.into())]),
    );
    let rule = Rule::new()
        .when(Match::Protocol(Protocol::Tcp))
        .unless(Match::In {
            fields: vec![Field::DestinationAddress(Ip::V4)],
            set: "inside".into(),
        })
        .then(Statement::Dnat(SocketAddr::from(relay)))
        .because("the way out of the cluster");
    Table::new(Family::Ip, TABLE).set(kept).chain(
        Chain::new("prerouting")
            .base(Base::nat_prerouting())
            .rule(rule),
    )
}

/// Relays every connection that arrives at `listener`, for ever.
pub(crate) async fn run(listener: TcpListener, publisher: publisher::Client) {
    loop {
        match listener.accept().await {
            Ok((stream, pod)) => {
                let publisher = publisher.clone();
                tokio::spawn(async move {
                    if let Err(error) = relay(stream, &publisher).await {
                        tracing::debug!(%pod, %error, "a connection to the outside ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connections to the outside cannot be accepted");
                // Descriptors have run out, most likely; others give some back.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

async fn relay(mut inside: TcpStream, publisher: &publisher::Client) -> std::io::Result<()> {
    let own = inside.local_addr()?;
    let destination = SockRef::from(&inside)
        .original_dst_v4()?
        .as_socket()
        .filter(|destination| *destination != own)
        // Somebody dialled the relay itself: there is nowhere to go.
        .ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let mut outside = match publisher.dial(destination).await {
        Ok(stream) => stream,
        Err(error) => {
            // The pod sees a reset, as it would from an address where nobody listens.
            SockRef::from(&inside).set_linger(Some(std::time::Duration::ZERO))?;
            return Err(error);
        }
    };
    inside.set_nodelay(true)?;
    outside.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut inside, &mut outside).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_and_services_are_not_sent_outside() {
        let inside = [
            "10.244.0.0/16".parse().unwrap(),
            "10.96.0.0/16".parse().unwrap(),
        ];
        let table = table(&inside, (Ipv4Addr::new(10, 244, 0, 1), 15));
        assert_eq!(table.sets[0].elements.len(), 6);
        let text = table.chains[0].rules[0].to_string();
        assert!(text.contains("dnat to 10.244.0.1:15"), "{text}");
    }
}
