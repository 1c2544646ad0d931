//! What one exchange costs in this crate: request head in and out, response head in and out.
//!
//! `cargo bench -p lateen-wire`. The rounds of the two sizes alternate; the figure is the median.
#![allow(
    clippy::print_stdout,
    missing_docs,
    reason = "a bench prints its figures and has no interface"
)]

use std::hint::black_box;
use std::time::Instant;

use lateen_wire::h1::field::{Name, Value};
use lateen_wire::h1::head::{Limits, Persistence, Version};
use lateen_wire::h1::response::Asked;
use lateen_wire::h1::write::{self, Change, Edit, RequestChanges, ResponseChanges};
use lateen_wire::h1::{request, response};

const ROUNDS: usize = 21;
const EXCHANGES: u32 = 50_000;

const SMALL: &[u8] = b"GET /get HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/7.88.1\r\n\
    Accept: */*\r\n\r\n";

const BROWSER: &[u8] = b"GET /productpage?u=normal HTTP/1.1\r\nHost: localhost:8080\r\n\
    Connection: keep-alive\r\nCache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\nsec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\nUpgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
    Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9\r\nCookie: session=eyJ1c2VyIjoiamFzb24ifQ==\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\
    Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: 512\r\n\
    Connection: keep-alive\r\n\r\n";

#[derive(Default)]
struct Buffers {
    request: request::Head,
    response: response::Head,
    out: Vec<u8>,
}

fn exchange(buffers: &mut Buffers, input: &[u8], edits: &[Edit<'_>]) {
    let limits = Limits::default();
    buffers.out.clear();
    assert!(buffers.request.parse(black_box(input), &limits).is_ok());
    let request = buffers.request.view(input);
    black_box((request.path(), request.authority(), request.body()));
    let changes = RequestChanges {
        edits,
        ..RequestChanges::default()
    };
    write::request(&mut buffers.out, request, &changes);
    black_box(&buffers.out);
    buffers.out.clear();
    let asked = Asked::by(request);
    assert!(
        buffers
            .response
            .parse(black_box(RESPONSE), &limits, asked)
            .is_ok()
    );
    let changes = ResponseChanges {
        client: Version::Http11,
        persistence: Persistence::KeepAlive,
        edits: &edits[..1],
    };
    write::response(&mut buffers.out, buffers.response.view(RESPONSE), &changes);
    black_box(&buffers.out);
}

fn main() {
    let value = |bytes| Value::new(bytes).expect("a constant without control characters");
    let add = |name, change| Edit { name, change };
    let edits = [
        Edit::set(Name::SERVER, value(b"istio-envoy")),
        add(
            Name::X_REQUEST_ID,
            Change::SetIfAbsent(value(b"7e6f3f0a-8a1c-9e0f-b1a2-0c1d2e3f4a5b")),
        ),
        add(Name::X_FORWARDED_FOR, Change::Join(value(b"10.0.0.2"))),
        Edit::set(Name::X_FORWARDED_PROTO, value(b"http")),
        Edit::set(Name::X_ENVOY_ATTEMPT_COUNT, value(b"1")),
    ];
    let mut buffers = Buffers::default();
    let inputs = [("small", SMALL), ("browser", BROWSER)];
    let mut figures = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (index, (_, input)) in inputs.iter().enumerate() {
            let start = Instant::now();
            for _ in 0..EXCHANGES {
                exchange(&mut buffers, input, &edits);
            }
            figures[index].push(start.elapsed().as_secs_f64() * 1e9 / f64::from(EXCHANGES));
        }
    }
    for ((name, input), figures) in inputs.iter().zip(&mut figures) {
        figures.sort_by(f64::total_cmp);
        println!(
            "{name:8} ({:4} bytes): {:6.0} ns per exchange (fastest {:.0}, slowest {:.0})",
            input.len(),
            figures[ROUNDS / 2],
            figures[0],
            figures[ROUNDS - 1]
        );
    }
}
