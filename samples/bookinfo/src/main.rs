//! Bookinfo: the sample application that users of Istio know, in one program with four roles.
//!
//! ```text
//! productpage ──► details
//!      └────────► reviews (v1 no stars, v2 black stars, v3 red stars) ──► ratings
//! ```
//!
//! It knows nothing of the mesh: plain HTTP on port 9080, names of services from the environment,
//! tracing headers passed on as every instrumented application does.

mod client;
mod details;
mod page;
mod productpage;
mod ratings;
mod reviews;
mod server;

use std::sync::Arc;

use clap::{Parser, Subcommand};

use crate::client::Client;

/// One of the four services of the Bookinfo sample.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    role: Role,
    /// Port to listen on.
    #[arg(
        long,
        short,
        global = true,
        env = "SERVICE_PORT",
        default_value_t = 9080
    )]
    port: u16,
}

#[derive(Subcommand)]
enum Role {
    /// The front end: calls details and reviews.
    Productpage,
    /// Facts about a book.
    Details,
    /// Reviews of a book; v2 and v3 call ratings.
    Reviews {
        /// v1 shows no stars, v2 black ones, v3 red ones.
        #[arg(
            long = "service-version",
            alias = "version",
            env = "SERVICE_VERSION",
            default_value = "v1"
        )]
        version: reviews::Version,
    },
    /// Ratings of a book.
    Ratings,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let client = Client::from_env();
    match args.role {
        Role::Productpage => {
            let state = Arc::new(productpage::ProductPage::new(client));
            server::serve(args.port, move |request| {
                let state = Arc::clone(&state);
                async move { state.handle(request).await }
            })
            .await
        }
        Role::Details => {
            server::serve(
                args.port,
                |request| async move { details::handle(&request) },
            )
            .await
        }
        Role::Reviews { version } => {
            let state = Arc::new(reviews::Reviews::new(version, client));
            server::serve(args.port, move |request| {
                let state = Arc::clone(&state);
                async move { state.handle(request).await }
            })
            .await
        }
        Role::Ratings => {
            let state = Arc::new(ratings::Ratings::default());
            server::serve(args.port, move |request| {
                let state = Arc::clone(&state);
                async move { state.handle(request).await }
            })
            .await
        }
    }
}
