//! `lateen`: what a person types, the control plane, and the local cluster.
//!
//! It never carries traffic of a mesh: that is `lateen-proxy`.

#![allow(
    clippy::large_futures,
    reason = "a command runs once; boxing each call would only hide the story"
)]

mod apply;
mod command;
mod manifests;
mod output;
mod pod;
mod progress;
mod table;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::command::{analyze, cluster, control, install, proxy_config, proxy_status, why};

/// A service mesh that understands Istio's API.
#[derive(Debug, Parser)]
#[command(name = "lateen", version, about, propagate_version = true)]
#[command(after_help = "Examples:
  lateen up --bookinfo      a whole mesh with the Bookinfo sample on this machine
  lateen install            the mesh into the cluster of the current context
  lateen analyze            what is wrong with the configuration of the current namespace")]
struct Lateen {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(cluster::Up),
    Down(cluster::Down),
    Status(cluster::Status),
    Logs(cluster::Logs),
    Env(cluster::Env),
    Install(install::Install),
    Analyze(analyze::Analyze),
    #[command(visible_alias = "ps")]
    ProxyStatus(proxy_status::ProxyStatus),
    #[command(visible_alias = "pc")]
    ProxyConfig(proxy_config::ProxyConfig),
    Why(why::Why),
    Control(control::Control),
}

fn main() -> ExitCode {
    // The local cluster's own processes are this program again; nothing may come before them.
    if let Some(code) = lateen_local::cluster::child_main() {
        return code;
    }
    let command = Lateen::parse().command;
    let result = runtime().and_then(|runtime| {
        let result = runtime.block_on(run(command));
        // Whatever still blocks a thread has nothing left to say.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?)
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => Box::pin(cluster::up(args)).await.map(done),
        Command::Down(args) => cluster::down(&args).map(done),
        Command::Status(args) => cluster::status(args).await,
        Command::Logs(args) => cluster::logs(&args).map(done),
        Command::Env(args) => cluster::env(&args).map(done),
        Command::Install(args) => Box::pin(install::run(args)).await.map(done),
        Command::Analyze(args) => Box::pin(analyze::run(args)).await,
        Command::ProxyStatus(args) => proxy_status::run(args).await.map(done),
        Command::ProxyConfig(args) => Box::pin(proxy_config::run(args)).await.map(done),
        Command::Why(args) => Box::pin(why::run(args)).await,
        Command::Control(args) => Box::pin(control::run(args)).await.map(done),
    }
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}
