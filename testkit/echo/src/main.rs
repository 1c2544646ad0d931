//! A server that tells what reached it, and a client that tells what came back: for the tests of
//! the mesh, in every protocol that it carries.
//!
//! ```text
//! serve  one port: HTTP/1.1, HTTP/2 (prior knowledge), gRPC, WebSocket
//!        one each: TCP (echoes lines), TCP that speaks first, TLS with the first kind inside
//! call   http:// https:// h2:// grpc:// ws:// tcp:// tls://, one line of JSON for each call
//! ```
//!
//! It ends at once on SIGTERM, as careless applications do, unless told to drain.

#![allow(
    clippy::print_stdout,
    reason = "its output is what tests and people read"
)]
#![allow(
    clippy::large_futures,
    reason = "a few calls in a test program; boxing each would only hide the story"
)]

mod behaviour;
mod call;
mod grpc;
mod http;
mod serve;
mod stream;
mod tls;
mod websocket;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "lateen-echo", version, about)]
struct Echo {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Call(call::Call),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Echo::parse().command {
        Command::Serve(serve) => serve.run().await,
        Command::Call(call) => call.run().await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
