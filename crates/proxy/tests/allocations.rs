//! The allocation budget: an HTTP/1.1 exchange in steady state allocates nothing.
//!
//! The allocator counts what this thread allocates while a client and an upstream, which reuse
//! their own buffers, exchange requests through a worker.
#![allow(
    unsafe_code,
    reason = "an allocator that counts has to implement an unsafe trait; it only delegates"
)]

#[path = "support/resources.rs"]
#[allow(dead_code, reason = "shared with other tests, which need the rest")]
mod resources;
#[path = "scenarios/world.rs"]
#[allow(dead_code, reason = "shared with other tests, which need the rest")]
mod world;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use lateen_model::Protocol;
use lateen_model::http::HttpRule;
use lateen_model::retry::{Retries, RetryOn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{Peer, World, run};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const REQUEST: &[u8] = b"GET /api/v1/products/0?x=1 HTTP/1.1\r\nHost: shop.example.com\r\n\
    User-Agent: test\r\nAccept: */*\r\nCookie: a=b; c=d\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n";
const POST: &[u8] =
    b"POST /api HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 11\r\n\r\nhello there";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

/// Writes to one end and reads at the other until the text ends so, without allocating.
async fn pass(from: &mut Peer, text: &[u8], to: &mut Peer, ending: &[u8], room: &mut [u8]) {
    from.stream.write_all(text).await.expect("write");
    let mut filled = 0;
    while !room[..filled].ends_with(ending) {
        filled += to.stream.read(&mut room[filled..]).await.expect("read");
    }
}

/// A rule with every time limit, and retries of its own.
fn limited() -> HttpRule {
    HttpRule {
        timeout: Some(Duration::from_secs(10)),
        retries: Some(Retries {
            attempts: 3,
            per_try_timeout: Some(Duration::from_secs(2)),
            conditions: vec![RetryOn::ServerError, RetryOn::Unavailable],
            ..Retries::default_policy()
        }),
        ..world::to("web")
    }
}

fn allocations_of(
    rule: HttpRule,
    request: &'static [u8],
    ending: &'static [u8],
    response: &'static [u8],
) -> u64 {
    let counted = Cell::new(0);
    run(async || {
        let mut world = World::gateway();
        world
            .service("web", Protocol::Http, &["10.0.1.1"])
            .rule(rule);
        let mut client = world.client();
        client.stream.write_all(request).await.expect("write");
        let mut web = world.upstream().await;
        let mut room = vec![0; 16 * 1024];
        pass(&mut web, b"", &mut client, b"", &mut room).await;
        let mut filled = 0;
        while !room[..filled].ends_with(ending) {
            filled += web.stream.read(&mut room[filled..]).await.expect("read");
        }
        let tail = &response[response.len() - 5..];
        pass(&mut web, response, &mut client, tail, &mut room).await;
        let mut before = 0;
        for round in 0..200 {
            if round == 100 {
                before = ALLOCATIONS.with(Cell::get);
            }
            pass(&mut client, request, &mut web, ending, &mut room).await;
            pass(&mut web, response, &mut client, tail, &mut room).await;
        }
        assert!(before > 0, "the allocator does not count");
        counted.set(ALLOCATIONS.with(Cell::get) - before);
    });
    counted.get()
}

#[test]
fn an_exchange_in_steady_state_allocates_nothing() {
    for rule in [world::to("web"), limited()] {
        let get = allocations_of(rule.clone(), REQUEST, b"\r\n\r\n", RESPONSE);
        assert_eq!(get, 0, "GET");
        let post = allocations_of(rule.clone(), POST, b"hello there", RESPONSE);
        assert_eq!(post, 0, "POST");
        let chunks = allocations_of(rule, REQUEST, b"\r\n\r\n", CHUNKED);
        assert_eq!(chunks, 0, "chunks");
    }
}
