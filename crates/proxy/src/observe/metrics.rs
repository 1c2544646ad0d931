//! Counters of requests and connections: cells that one worker writes and the main thread reads.
//!
//! A [`Key`] holds ids only; the text of its labels is made when metrics are read, so that what is
//! learned late (who lives at an address) still lands. A connection remembers the cells of its
//! last key, so that recording the usual request is a comparison and eight additions.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lateen_decide::ClusterId;

use super::flags::Flags;
use super::histogram::{Histogram, Reading, add};

/// How many series one worker keeps. Beyond, the peer's address is left out of new keys, so that
/// a scan from many addresses cannot exhaust the memory.
const MOST_SERIES: usize = 4096;

/// How many foreign host names one worker remembers for passed-through requests.
const MOST_HOSTS: usize = 256;

/// On whose behalf the proxy reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reporter {
    /// The caller's side: a sidecar's outbound traffic, or a gateway.
    Source,
    /// The callee's side: a sidecar's inbound traffic.
    Destination,
}

/// Names the service that a series counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Service {
    /// No cluster was chosen.
    None,
    /// The service of a cluster.
    Cluster(ClusterId),
    /// The service of an inbound port, as the main thread numbers them.
    Inbound(u32),
    /// A passed-through request: the host it named, as the worker numbers them.
    Foreign(ForeignHost),
}

/// A host that no service has; 0 stands for all beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ForeignHost(pub u32);

/// What `request_protocol` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestProtocol {
    /// HTTP.
    Http,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
}

/// What distinguishes one series from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// Who reports.
    pub reporter: Reporter,
    /// The service.
    pub service: Service,
    /// The other end: the endpoint for [`Reporter::Source`], the client for
    /// [`Reporter::Destination`]; unspecified if there is none.
    pub peer: IpAddr,
    /// What was spoken.
    pub protocol: RequestProtocol,
    /// The status; 0 if none was sent, and for TCP.
    pub code: u16,
    /// The status of a call of gRPC, if it had one.
    pub call_status: Option<u8>,
    /// Why it ended as it did, and what befell it.
    pub flags: Flags,
}

/// One finished exchange.
#[derive(Debug, Clone, Copy)]
pub struct Exchange {
    /// How long it took.
    pub millis: u64,
    /// Bytes of the request as received.
    pub request_bytes: u64,
    /// Bytes of the response as sent.
    pub response_bytes: u64,
}

/// The cells of one series. TCP uses the counters, HTTP the histograms.
#[derive(Debug, Default)]
pub struct Cells {
    requests: AtomicU64,
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
    opened: AtomicU64,
    closed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

/// What the cells of a series held when they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// `istio_requests_total`.
    pub requests: u64,
    /// `istio_request_duration_milliseconds`.
    pub duration: Reading,
    /// `istio_request_bytes`.
    pub request_bytes: Reading,
    /// `istio_response_bytes`.
    pub response_bytes: Reading,
    /// `istio_tcp_connections_opened_total`.
    pub opened: u64,
    /// `istio_tcp_connections_closed_total`.
    pub closed: u64,
    /// `istio_tcp_sent_bytes_total`.
    pub sent: u64,
    /// `istio_tcp_received_bytes_total`.
    pub received: u64,
}

/// The series of one worker, as the main thread sees them.
#[derive(Debug, Default)]
pub struct Shard {
    /// Locked when a series is new and when metrics are read, never per request.
    content: Mutex<Content>,
}

#[derive(Debug, Default)]
struct Content {
    series: Vec<(Key, Arc<Cells>)>,
    hosts: Vec<Box<str>>,
}

/// A worker's way to its series.
#[derive(Debug)]
pub struct Recorder {
    shard: Arc<Shard>,
    index: RefCell<HashMap<Key, Arc<Cells>>>,
    hosts: RefCell<HashMap<Box<[u8]>, ForeignHost>>,
}

/// The cells that a connection used last.
#[derive(Debug, Default)]
pub struct Last(Option<(Key, Arc<Cells>)>);

/// Counts a TCP connection from its opening until it is dropped.
#[derive(Debug)]
pub struct TcpConnection {
    cells: Arc<Cells>,
}

// === impl Key ===

impl Key {
    /// The address that stands for no peer.
    pub const NO_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
}

// === impl Recorder ===

impl Recorder {
    /// A recorder of a worker that writes to `shard`.
    pub fn new(shard: Arc<Shard>) -> Self {
        Self {
            shard,
            index: RefCell::default(),
            hosts: RefCell::default(),
        }
    }

    /// Counts an exchange.
    pub fn request(&self, last: &mut Last, key: Key, exchange: Exchange) {
        let cells = match &mut last.0 {
            Some((known, cells)) if *known == key => cells,
            slot => &mut slot.insert((key, self.cells(key))).1,
        };
        add(&cells.requests, 1);
        cells.duration.record(exchange.millis);
        cells.request_bytes.record(exchange.request_bytes);
        cells.response_bytes.record(exchange.response_bytes);
    }

    /// Counts a TCP connection that is now open.
    pub fn tcp_opened(&self, key: Key) -> TcpConnection {
        let cells = self.cells(key);
        add(&cells.opened, 1);
        TcpConnection { cells }
    }

    /// Numbers a host that no service has.
    pub fn foreign_host(&self, host: &[u8]) -> ForeignHost {
        let mut hosts = self.hosts.borrow_mut();
        if let Some(id) = hosts.get(host) {
            return *id;
        }
        let Ok(text) = std::str::from_utf8(host) else {
            return ForeignHost(0);
        };
        if hosts.len() >= MOST_HOSTS {
            return ForeignHost(0);
        }
        let mut content = self.shard.lock();
        content.hosts.push(text.into());
        let id = ForeignHost(u32::try_from(content.hosts.len()).unwrap_or(0));
        hosts.insert(host.into(), id);
        id
    }

    fn cells(&self, mut key: Key) -> Arc<Cells> {
        let mut index = self.index.borrow_mut();
        if index.len() >= MOST_SERIES && !index.contains_key(&key) {
            key.peer = Key::NO_PEER;
        }
        let new = || {
            let cells = Arc::<Cells>::default();
            self.shard.lock().series.push((key, Arc::clone(&cells)));
            cells
        };
        Arc::clone(index.entry(key).or_insert_with(new))
    }
}

// === impl TcpConnection ===

impl TcpConnection {
    /// Counts bytes towards the client.
    pub fn sent(&self, bytes: u64) {
        add(&self.cells.sent, bytes);
    }

    /// Counts bytes from the client.
    pub fn received(&self, bytes: u64) {
        add(&self.cells.received, bytes);
    }
}

impl Drop for TcpConnection {
    fn drop(&mut self) {
        add(&self.cells.closed, 1);
    }
}

// === impl Shard ===

impl Shard {
    fn lock(&self) -> std::sync::MutexGuard<'_, Content> {
        // What it guards is whole after each statement, so a panic elsewhere leaves it usable.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads every series.
    pub fn read(&self) -> Vec<(Key, Totals)> {
        let content = self.lock();
        let series = content.series.iter();
        series.map(|(key, cells)| (*key, cells.read())).collect()
    }

    /// The name of a foreign host of this worker.
    pub fn foreign_host(&self, id: ForeignHost) -> Option<Box<str>> {
        let index = usize::try_from(id.0).ok()?.checked_sub(1)?;
        self.lock().hosts.get(index).cloned()
    }
}

// === impl Cells ===

impl Cells {
    fn read(&self) -> Totals {
        Totals {
            requests: self.requests.load(Ordering::Relaxed),
            duration: self.duration.read(),
            request_bytes: self.request_bytes.read(),
            response_bytes: self.response_bytes.read(),
            opened: self.opened.load(Ordering::Relaxed),
            closed: self.closed.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
        }
    }
}

// === impl Totals ===

impl Totals {
    /// Adds another series' totals.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.duration.add(&other.duration);
        self.request_bytes.add(&other.request_bytes);
        self.response_bytes.add(&other.response_bytes);
        self.opened += other.opened;
        self.closed += other.closed;
        self.sent += other.sent;
        self.received += other.received;
    }

    /// Takes away what the same series had earlier.
    pub fn subtract(&mut self, earlier: &Self) {
        self.requests -= earlier.requests;
        self.duration.subtract(&earlier.duration);
        self.request_bytes.subtract(&earlier.request_bytes);
        self.response_bytes.subtract(&earlier.response_bytes);
        self.opened -= earlier.opened;
        self.closed -= earlier.closed;
        self.sent -= earlier.sent;
        self.received -= earlier.received;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(code: u16, peer: u32) -> Key {
        Key {
            reporter: Reporter::Source,
            service: Service::None,
            peer: IpAddr::V4(Ipv4Addr::from(peer)),
            protocol: RequestProtocol::Http,
            code,
            call_status: None,
            flags: Flags::default(),
        }
    }

    const EXCHANGE: Exchange = Exchange {
        millis: 3,
        request_bytes: 100,
        response_bytes: 200,
    };

    #[test]
    fn every_exchange_is_counted_once_whatever_a_connection_remembers() {
        let shard = Arc::<Shard>::default();
        let recorder = Recorder::new(Arc::clone(&shard));
        let mut last = Last::default();
        for code in [200, 200, 404, 200] {
            recorder.request(&mut last, key(code, 1), EXCHANGE);
        }
        let mut counts: Vec<_> = shard
            .read()
            .into_iter()
            .map(|(key, totals)| (key.code, totals.requests, totals.duration.count()))
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [(200, 3, 3), (404, 1, 1)]);
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let shard = Arc::<Shard>::default();
        let recorder = Recorder::new(Arc::clone(&shard));
        let mut last = Last::default();
        for peer in 1..=10_000 {
            recorder.request(&mut last, key(200, peer), EXCHANGE);
        }
        let series = shard.read();
        assert!(series.len() <= MOST_SERIES + 1);
        let requests: u64 = series.iter().map(|(_, totals)| totals.requests).sum();
        assert_eq!(requests, 10_000);
    }

    #[test]
    fn a_tcp_connection_is_closed_when_dropped() {
        let shard = Arc::<Shard>::default();
        let recorder = Recorder::new(Arc::clone(&shard));
        let connection = recorder.tcp_opened(key(0, 1));
        connection.sent(5);
        assert_eq!(shard.read()[0].1.closed, 0);
        drop(connection);
        let totals = shard.read()[0].1;
        assert_eq!((totals.opened, totals.closed, totals.sent), (1, 1, 5));
    }

    #[test]
    fn foreign_hosts_are_numbered_up_to_a_limit() {
        let shard = Arc::<Shard>::default();
        let recorder = Recorder::new(Arc::clone(&shard));
        let first = recorder.foreign_host(b"a.com");
        assert_eq!(recorder.foreign_host(b"a.com"), first);
        assert_eq!(shard.foreign_host(first).as_deref(), Some("a.com"));
        for index in 0..1000 {
            recorder.foreign_host(format!("{index}.com").as_bytes());
        }
        assert_eq!(recorder.foreign_host(b"more.com"), ForeignHost(0));
        assert_eq!(shard.foreign_host(ForeignHost(0)), None);
    }
}
