//! Starting the cluster's processes, and what is in the way of it.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{anyhow, bail};
use lateen_local::cluster::options::command;
use lateen_local::cluster::{self, Error, Options, Record};
use lateen_local::node::images::Mapping;

use super::Up;
use crate::progress::Step;

/// The ports of 127.0.0.1 if none are given.
const HTTP_PORT: u16 = 8080;
const HTTPS_PORT: u16 = 8443;
const API_PORT: u16 = 6443;

/// Starts the cluster and shows how it goes.
pub(super) async fn start(args: &Up) -> anyhow::Result<Record> {
    let mut options = Options {
        name: args.which.name.clone(),
        api: local(args.api_port.unwrap_or(API_PORT)),
        images: args.images.clone(),
        kubeconfig: args.kubeconfig.clone(),
        ..Options::default()
    };
    for published in &mut options.published {
        published.address = local(match published.service.port {
            80 => args.http_port.unwrap_or(HTTP_PORT),
            _ => args.https_port.unwrap_or(HTTPS_PORT),
        });
    }
    tell_kept_images(args)?;
    let step = Step::begin("Starting the cluster");
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let starting = tokio::task::spawn_blocking(move || {
        // A receiver that is gone means that nobody waits any more.
        cluster::up(&options, |progress| drop(tell.send(progress.text)))
    });
    while let Some(text) = told.recv().await {
        step.note(text);
    }
    match starting.await? {
        Ok(record) => {
            step.done("Cluster started");
            Ok(record)
        }
        Err(error) => {
            step.failed("Starting the cluster");
            Err(explained(&args.which.name, error))
        }
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Says which images are mapped as at the last start, so that nobody has to wonder.
fn tell_kept_images(args: &Up) -> anyhow::Result<()> {
    let name = &args.which.name;
    let mut kept = cluster::images(name, None)?;
    kept.retain(|mapping| args.images.iter().all(|new| new.image != mapping.image));
    if !kept.is_empty() {
        let list: Vec<String> = kept.iter().map(text).collect();
        eprintln!("Images as before: {}", list.join(", "));
    }
    Ok(())
}

/// Checks that a cluster that runs maps its images as is asked for.
pub(super) fn check_images(name: &str, wanted: &[Mapping]) -> anyhow::Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    match difference(name, wanted, &cluster::images(name, None)?) {
        Some(text) => bail!(text),
        None => Ok(()),
    }
}

fn difference(name: &str, wanted: &[Mapping], running: &[Mapping]) -> Option<String> {
    let known = |wanted: &Mapping| running.iter().find(|one| one.image == wanted.image);
    let other = wanted.iter().find(|one| known(one) != Some(*one))?;
    let now = known(other).map_or_else(
        || format!("it does not map the image {}", other.image),
        |known| format!("it has {}", text(known)),
    );
    Some(format!(
        "the cluster {name:?} is already running, and {now}. Images are mapped when it starts: \
         `{}`, then `{} --image {}` (its objects are kept)",
        command("down", name),
        command("up", name),
        text(other)
    ))
}

/// Checks that a cluster that runs has the ports that are asked for.
pub(super) fn check_ports(args: &Up, record: &Record) -> anyhow::Result<()> {
    let name = &args.which.name;
    let published = |purpose: &str| {
        let found = record.ports.iter().find(|(known, _)| known == purpose);
        found.map(|(_, address)| *address)
    };
    let asked = [
        ("--api-port", args.api_port, Some(record.api)),
        ("--http-port", args.http_port, published("ingress HTTP")),
        ("--https-port", args.https_port, published("ingress HTTPS")),
    ];
    for (flag, wanted, now) in asked {
        // 0 is whatever it has.
        let wanted = wanted.filter(|port| *port != 0);
        if let (Some(wanted), Some(now)) = (wanted, now)
            && wanted != now.port()
        {
            bail!(
                "the cluster {name:?} is already running, with {now} and not port {wanted}. Ports \
                 are opened when it starts: `{}`, then `{} {flag} {wanted}` (its objects are kept)",
                command("down", name),
                command("up", name)
            );
        }
    }
    Ok(())
}

/// A mapping as it is typed.
fn text(mapping: &Mapping) -> String {
    let mut text = format!("{}={}", mapping.image, mapping.program.display());
    for argument in &mapping.arguments {
        text.push(' ');
        text.push_str(argument);
    }
    if mapping.arguments.is_empty() {
        text
    } else {
        format!("\"{text}\"")
    }
}

/// Adds to an error which flag helps, and who has what is missing.
fn explained(name: &str, error: Error) -> anyhow::Error {
    match error {
        Error::Port {
            purpose,
            address,
            cause,
        } => {
            // If the others cannot be looked at, the port is still taken.
            let running = cluster::running(None).unwrap_or_default();
            let owner = running
                .iter()
                .find(|(_, record)| has_port(record, address.port()));
            let owner = owner.map(|(name, _)| name.as_str());
            anyhow!(port_refused(name, &purpose, address, &cause, owner))
        }
        other => other.into(),
    }
}

fn has_port(record: &Record, port: u16) -> bool {
    let ports = record.ports.iter().map(|(_, address)| address.port());
    ports.chain([record.api.port()]).any(|other| other == port)
}

fn port_refused(
    name: &str,
    purpose: &str,
    address: SocketAddr,
    cause: &io::Error,
    owner: Option<&str>,
) -> String {
    let flag = match purpose {
        "ingress HTTP" => "--http-port",
        "ingress HTTPS" => "--https-port",
        _ => "--api-port",
    };
    let what = format!("{address} cannot be opened for {purpose}");
    match (cause.kind(), owner) {
        (ErrorKind::AddrInUse, Some(owner)) => format!(
            "{what}: the cluster {owner:?} has it. Give this one ports of its own, such as any \
             that are free: `{} --http-port 0 --https-port 0 --api-port 0`; or end the other one: \
             `{}`",
            command("up", name),
            command("down", owner)
        ),
        (ErrorKind::AddrInUse, None) => format!(
            "{what}: another program has it. Choose another port with `{flag}`, or 0 for any"
        ),
        (ErrorKind::PermissionDenied, _) => {
            format!("{what}: ports below 1024 need root. Choose a higher one with `{flag}`")
        }
        _ => format!("{what}: {cause}. `{flag}` chooses another port"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mapping_that_a_running_cluster_has_is_fine_and_another_is_refused() {
        let list = |texts: &[&str]| -> Vec<Mapping> {
            texts
                .iter()
                .map(|text| Mapping::parse(text).unwrap())
                .collect()
        };
        let running = list(&["a=/a", "b=/b -x"]);
        assert_eq!(difference("two", &list(&["b=/b -x"]), &running), None);
        let other = difference("two", &list(&["a=/a", "b=/c"]), &running).unwrap();
        assert!(other.contains("it has \"b=/b -x\""), "{other}");
        assert!(
            other.contains("`lateen down --name two`, then `lateen up --name two --image b=/c`"),
            "{other}"
        );
        let new = difference("two", &list(&["c=/c"]), &running).unwrap();
        assert!(new.contains("does not map the image c"), "{new}");
    }

    #[test]
    fn a_port_that_a_running_cluster_does_not_have_is_refused() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            up: Up,
        }
        let process = json!({ "pid": 1, "startTime": 1 });
        let record: Record = serde_json::from_value(json!({
            "publisher": process, "supervisor": process, "started": "2026-01-02T03:04:05Z",
            "api": "127.0.0.1:6443", "ports": [["ingress HTTP", "127.0.0.1:8080"]],
            "kubeconfig": null,
        }))
        .unwrap();
        let check = |flags: &[&str]| {
            let line = Line::try_parse_from([&["up"], flags].concat()).unwrap();
            check_ports(&line.up, &record)
        };
        check(&[]).unwrap();
        check(&["--http-port", "8080", "--api-port", "0"]).unwrap();
        let error = check(&["--http-port", "9000"]).unwrap_err().to_string();
        assert!(
            error.contains("127.0.0.1:8080 and not port 9000"),
            "{error}"
        );
        assert!(error.contains("`lateen up --http-port 9000`"), "{error}");
    }

    #[test]
    fn a_port_that_is_taken_names_the_flag_and_the_cluster_that_has_it() {
        let taken = io::Error::from(ErrorKind::AddrInUse);
        let alone = port_refused("lateen", "ingress HTTP", local(8080), &taken, None);
        assert!(alone.contains("127.0.0.1:8080") && alone.contains("`--http-port`"));
        let other = port_refused(
            "two",
            "the API server",
            local(6443),
            &taken,
            Some(super::super::DEFAULT_NAME),
        );
        assert!(other.contains("the cluster \"lateen\" has it"), "{other}");
        assert!(
            other.contains("`lateen up --name two --http-port 0"),
            "{other}"
        );
        assert!(other.ends_with("`lateen down`"), "{other}");
    }
}
