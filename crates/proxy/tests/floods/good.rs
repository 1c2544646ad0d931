//! The client that behaves: one connection of HTTP/2, requests at a fixed rate.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::proxy::PATIENCE;

/// The time from request to request.
const EVERY: Duration = Duration::from_millis(2);

/// Its connection.
pub(crate) struct Good {
    send: SendRequest<Bytes>,
}

/// What it got.
#[derive(Default)]
pub(crate) struct Tally {
    /// How long each answer took from the time when its request was due, sorted.
    pub(crate) latencies: Vec<Duration>,
    /// Requests without a good answer; the first ones, in words.
    pub(crate) faults: Vec<String>,
}

// === impl Good ===

impl Good {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connect");
        stream.set_nodelay(true).expect("an option of the socket");
        let (send, connection) = h2::client::handshake(stream).await.expect("handshake");
        tokio::spawn(async move {
            // An error of the connection is an error of its requests, which is counted there.
            let _ = connection.await;
        });
        Self { send }
    }

    /// Sends requests until some time and waits for the last answer.
    pub(crate) async fn ask(&mut self, until: Instant) -> Tally {
        let mut asked = JoinSet::new();
        let mut tally = Tally::default();
        let mut due = Instant::now();
        while due < until {
            tokio::time::sleep_until(due.into()).await;
            asked.spawn(request(self.send.clone(), due));
            due += EVERY;
            while let Some(answer) = asked.try_join_next() {
                tally.add(answer.expect("no panic"));
            }
        }
        while let Some(answer) = asked.join_next().await {
            tally.add(answer.expect("no panic"));
        }
        tally.latencies.sort_unstable();
        tally
    }
}

/// Sends a request and answers how long its answer took.
async fn request(send: SendRequest<Bytes>, due: Instant) -> Result<Duration, String> {
    let answered = timeout(PATIENCE, async {
        let mut send = send.ready().await?;
        let request = Request::get("http://shop/good")
            .body(())
            .expect("a request");
        let response = send.send_request(request, true)?.0.await?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        while let Some(data) = body.data().await {
            let length = data?.len();
            body.flow_control().release_capacity(length)?;
        }
        Ok::<_, h2::Error>(status)
    });
    match answered.await {
        Ok(Ok(200)) => Ok(due.elapsed()),
        Ok(Ok(status)) => Err(format!("a request was answered {status}")),
        Ok(Err(error)) => Err(format!("a request failed: {error}")),
        Err(_) => Err(format!("a request was not answered within {PATIENCE:?}")),
    }
}

// === impl Tally ===

impl Tally {
    /// The latency that 99 of 100 requests did not exceed.
    pub(crate) fn p99(&self) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let index = (self.latencies.len() * 99 / 100).min(last);
        self.latencies.get(index).copied().unwrap_or_default()
    }

    fn add(&mut self, answer: Result<Duration, String>) {
        match answer {
            Ok(latency) => self.latencies.push(latency),
            Err(fault) if self.faults.len() < 3 => self.faults.push(fault),
            Err(_) => {}
        }
    }
}
