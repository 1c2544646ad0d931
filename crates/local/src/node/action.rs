//! What probes and hooks do: ask over HTTP, gRPC or TCP, run a program, wait.
//!
//! Requests come from the node's own address and go to the pod's, as a kubelet's do; certificates
//! are not checked, as a kubelet does not.

mod grpc;
mod http;
mod trust;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::unix::pipe;
use tokio::time::{sleep, timeout};

use super::container::launch::{self, Output};
use super::container::process::{Exit, Process};
use super::container::spec::Program;

/// As much of a program's output as an event carries.
const MAX_OUTPUT: usize = 10 * 1024;

/// A running container that is acted upon.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The pod's address.
    pub(crate) address: Ipv4Addr,
    /// What the container says of itself: its ports have names.
    pub(crate) container: Arc<Container>,
    /// Its process.
    pub(crate) process: Arc<Process>,
    /// As whom programs run in it; the arguments are replaced.
    pub(crate) program: Arc<Program>,
}

// === impl Target ===

impl Target {
    /// Asks once, as a probe says, without its timeout.
    ///
    /// # Errors
    /// Why it is not healthy, for the user.
    pub(crate) async fn probe(&self, probe: &Probe) -> Result<(), String> {
        if let Some(action) = &probe.http_get {
            return self.get(action).await;
        }
        if let Some(action) = &probe.tcp_socket {
            let address = self.socket(action.host.as_deref(), &action.port).await?;
            return TcpStream::connect(address)
                .await
                .map(drop)
                .map_err(|error| format!("dial tcp {address}: {error}"));
        }
        if let Some(action) = &probe.grpc {
            let port = self.port(&IntOrString::Int(action.port))?;
            let address = SocketAddr::from((self.address, port));
            return grpc::check(address, action.service.as_deref().unwrap_or_default()).await;
        }
        match &probe.exec {
            Some(action) => self.run(action).await,
            None => Err("the probe says nothing to do".into()),
        }
    }

    /// Does what a hook says.
    ///
    /// # Errors
    /// Why it failed, for the user.
    pub(crate) async fn handle(&self, handler: &LifecycleHandler) -> Result<(), String> {
        if let Some(action) = &handler.exec {
            return self.run(action).await;
        }
        if let Some(action) = &handler.http_get {
            return self.get(action).await;
        }
        if let Some(action) = &handler.sleep {
            sleep(Duration::from_secs(
                u64::try_from(action.seconds).unwrap_or(0),
            ))
            .await;
        }
        Ok(())
    }

    async fn get(&self, action: &HTTPGetAction) -> Result<(), String> {
        let address = self.socket(action.host.as_deref(), &action.port).await?;
        http::get(address, action).await
    }

    /// Runs a program in the container; an end with 0 is success.
    async fn run(&self, action: &ExecAction) -> Result<(), String> {
        let program = Program {
            arguments: action.command.clone().unwrap_or_default(),
            ..Program::clone(&self.program)
        };
        let said = |error: io::Error| error.to_string();
        let (reading, writing) = io::pipe().map_err(said)?;
        let output = Output {
            out: writing.try_clone().map_err(said)?.into(),
            error: writing.into(),
        };
        let reading = pipe::Receiver::from_owned_fd(reading.into()).map_err(said)?;
        let process = launch::program(&self.process, program, output)
            .await
            .map_err(said)?;
        // If this future is dropped, by a timeout, so is the program.
        let process = Killed(Arc::new(process));
        let (text, exit) = tokio::join!(read(reading), process.0.wait());
        match exit.map_err(said)? {
            Exit::Code(0) => Ok(()),
            exit => Err(format!("command exited with {}: {text}", exit.code())),
        }
    }

    async fn socket(&self, host: Option<&str>, port: &IntOrString) -> Result<SocketAddr, String> {
        let port = self.port(port)?;
        let Some(host) = host.filter(|host| !host.is_empty()) else {
            return Ok(SocketAddr::from((self.address, port)));
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, port));
        }
        let found = tokio::net::lookup_host((host, port)).await;
        let mut found = found.map_err(|error| format!("lookup {host}: {error}"))?;
        found
            .next()
            .ok_or_else(|| format!("lookup {host}: no address"))
    }

    fn port(&self, port: &IntOrString) -> Result<u16, String> {
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let ports = self.container.ports.iter().flatten();
                let named = |port: &&k8s_openapi::api::core::v1::ContainerPort| {
                    port.name.as_ref() == Some(name)
                };
                ports
                    .clone()
                    .find(named)
                    .map(|port| port.container_port)
                    .or(name.parse().ok())
            }
        };
        number
            .and_then(|number| u16::try_from(number).ok())
            .filter(|number| *number > 0)
            .ok_or_else(|| format!("the container has no port {port:?}"))
    }
}

/// A program that must not outlive who waits for it; it is waited for in any case.
struct Killed(Arc<Process>);

impl Drop for Killed {
    fn drop(&mut self) {
        let process = Arc::clone(&self.0);
        tokio::spawn(async move {
            let _ = process.signal(Signal::KILL);
            // It may have been waited for already.
            let _ = process.wait().await;
        });
    }
}

/// Reads what fits; the rest is read, too, or the program would block.
async fn read(mut pipe: pipe::Receiver) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    // What was started in the background may keep the pipe open after the program's end.
    while let Ok(Ok(length)) = timeout(Duration::from_secs(1), pipe.read(&mut buffer)).await {
        if length == 0 {
            break;
        }
        let room = MAX_OUTPUT.saturating_sub(text.len()).min(length);
        text.extend_from_slice(&buffer[..room]);
    }
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

#[cfg(test)]
mod tests;
