//! Loads of the product page, counted by what they show.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What a load asked for and how hard.
#[derive(Debug, Clone)]
pub struct Load {
    /// `address:port` of the gateway.
    pub target: String,
    /// The `Host` header.
    pub host: String,
    /// The path.
    pub path: String,
    /// A cookie; none if empty.
    pub cookie: String,
    /// How many loads in all; the load ends earlier if it is told to.
    pub count: usize,
    /// How many at a time, each on a connection of its own.
    pub concurrency: usize,
}

/// What one load of the page showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Page {
    /// Reviews without stars: v1.
    NoStars,
    /// Black stars: v2.
    Black,
    /// Red stars: v3.
    Red,
    /// A page that says that a part of it is not available.
    Degraded,
    /// A status other than 200.
    Status(u16),
    /// No answer at all.
    Broken,
}

/// How often each page was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pages and their numbers.
    pub pages: BTreeMap<Page, usize>,
    /// The first errors, in words.
    pub errors: Vec<String>,
}

impl Tally {
    /// How often a page was seen.
    pub fn of(&self, page: Page) -> usize {
        self.pages.get(&page).copied().unwrap_or(0)
    }

    /// All loads.
    pub fn total(&self) -> usize {
        self.pages.values().sum()
    }

    /// Loads that did not show a whole page.
    pub fn failures(&self) -> usize {
        self.total() - self.of(Page::NoStars) - self.of(Page::Black) - self.of(Page::Red)
    }

    fn add(&mut self, page: Page, error: Option<String>) {
        *self.pages.entry(page).or_default() += 1;
        if self.errors.len() < 5 {
            self.errors.extend(error);
        }
    }
}

impl Load {
    /// Loads of the product page of a gateway.
    pub fn new(target: &str, host: &str) -> Self {
        Self {
            target: target.into(),
            host: host.into(),
            path: "/productpage".into(),
            cookie: String::new(),
            count: 1,
            concurrency: 1,
        }
    }

    /// Runs the load on a runtime of its own and returns the count.
    pub fn run(&self) -> Tally {
        self.run_until(&AtomicBool::new(false))
    }

    /// Like [`Load::run`], ended early by `stop`.
    ///
    /// # Panics
    /// If no runtime can be started.
    pub fn run_until(&self, stop: &AtomicBool) -> Tally {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be started");
        runtime.block_on(async {
            let left = Arc::new(AtomicUsize::new(self.count));
            let workers = (0..self.concurrency).map(|_| self.worker(&left, stop));
            let mut total = Tally::default();
            for tally in futures_join(workers).await {
                for (page, count) in tally.pages {
                    *total.pages.entry(page).or_default() += count;
                }
                total.errors.extend(tally.errors);
            }
            total
        })
    }

    async fn worker(&self, left: &AtomicUsize, stop: &AtomicBool) -> Tally {
        let mut tally = Tally::default();
        let mut connection = None;
        let take = |value: usize| value.checked_sub(1);
        while !stop.load(Ordering::Relaxed)
            && left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
        {
            let load = tokio::time::timeout(Duration::from_secs(60), self.load(&mut connection));
            match load.await {
                Ok(Ok(page)) => tally.add(page, None),
                Ok(Err(error)) => {
                    connection = None;
                    tally.add(Page::Broken, Some(format!("{error:#}")));
                }
                Err(_) => {
                    connection = None;
                    tally.add(Page::Broken, Some("no answer within 60 s".into()));
                }
            }
        }
        tally
    }

    async fn load(
        &self,
        connection: &mut Option<SendRequest<Empty<Bytes>>>,
    ) -> anyhow::Result<Page> {
        // A connection that the server said it closes is not used again; hyper tells by `ready`.
        let mut sender = match still_open(connection.take()).await {
            Some(open) => open,
            None => self.connect().await?,
        };
        let mut request = Request::get(&self.path).header("host", &self.host);
        if !self.cookie.is_empty() {
            request = request.header("cookie", &self.cookie);
        }
        let request = request.body(Empty::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        *connection = Some(sender);
        Ok(if status == 200 {
            classify(&body)
        } else {
            Page::Status(status)
        })
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(&self.target).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // An error of the connection is an error of the request, which is counted there.
            connection.await.ok();
        });
        Ok(sender)
    }
}

/// The connection, if the server has not closed it.
async fn still_open(
    sender: Option<SendRequest<Empty<Bytes>>>,
) -> Option<SendRequest<Empty<Bytes>>> {
    let mut sender = sender?;
    sender.ready().await.is_ok().then_some(sender)
}

fn classify(body: &[u8]) -> Page {
    let text = String::from_utf8_lossy(body);
    if text.contains("currently unavailable") {
        Page::Degraded
    } else if text.contains("color=\"red\"") {
        Page::Red
    } else if text.contains("color=\"black\"") {
        Page::Black
    } else {
        Page::NoStars
    }
}

/// Drives futures side by side on this task.
async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_pending = false;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => is_pending = true,
                }
            }
        }
        if is_pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    futures
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}
