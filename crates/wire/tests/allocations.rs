//! No heap allocation per exchange once buffers have grown: a budget of the design.

#[path = "support/sys.rs"]
mod sys;

use lateen_wire::h1::chunked::{self, Decoder, Ending, Event, Mode};
use lateen_wire::h1::field::{Name, Value};
use lateen_wire::h1::head::{Limits, Persistence, Progress, Version};
use lateen_wire::h1::response::Asked;
use lateen_wire::h1::write::{self, Change, Edit, RequestChanges, ResponseChanges};
use lateen_wire::h1::{request, response};

const REQUEST: &[u8] = b"GET http://reviews:9080/reviews/0?a=b HTTP/1.1\r\nHost: reviews:9080\r\n\
    User-Agent: python-requests/2.31\r\nAccept: */*\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\
    Cookie: session=abc\r\nx-forwarded-for: 10.0.0.1\r\nTE: trailers\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\nTransfer-Encoding: chunked\r\n\
    Connection: keep-alive\r\n\r\n";

const BODY: &[u8] = b"5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\n\r\n";

#[derive(Default)]
struct Buffers {
    request: request::Head,
    response: response::Head,
    decoder: Decoder,
    out: Vec<u8>,
}

fn exchange(buffers: &mut Buffers) {
    let limits = Limits::default();
    let edits = [
        Edit::set(Name::X_REQUEST_ID, Value::new(b"7e6f").expect("valid")),
        Edit {
            name: Name::X_FORWARDED_FOR,
            change: Change::Join(Value::new(b"10.0.0.2").expect("valid")),
        },
    ];
    buffers.out.clear();
    assert_eq!(
        buffers.request.parse(REQUEST, &limits),
        Ok(Progress::Complete)
    );
    let request = buffers.request.view(REQUEST);
    let changes = RequestChanges {
        edits: &edits,
        ..RequestChanges::default()
    };
    write::request(&mut buffers.out, request, &changes);
    let asked = Asked::by(request);
    let progress = buffers.response.parse(RESPONSE, &limits, asked);
    assert_eq!(progress, Ok(Progress::Complete));
    let changes = ResponseChanges {
        client: Version::Http11,
        persistence: Persistence::KeepAlive,
        edits: &edits,
    };
    write::response(&mut buffers.out, buffers.response.view(RESPONSE), &changes);
    buffers.decoder.reset(Mode::Relay);
    let mut body = BODY;
    loop {
        let step = buffers.decoder.next(body).expect("valid");
        match step.event {
            Event::Verbatim { bytes, .. } => buffers.out.extend_from_slice(&body[bytes]),
            Event::Data(range) => chunked::write_chunk(&mut buffers.out, &body[range]),
            Event::End(Ending::ToWrite) => break buffers.decoder.write_end(&mut buffers.out),
            Event::End(Ending::Relayed) => break,
            Event::NeedMore => panic!("the body is whole"),
        }
        body = &body[step.consumed..];
    }
}

#[test]
fn an_exchange_does_not_allocate_once_buffers_have_grown() {
    let mut buffers = Buffers::default();
    exchange(&mut buffers);
    let before = sys::allocations();
    for _ in 0..100 {
        exchange(&mut buffers);
    }
    assert_eq!(sys::allocations() - before, 0);
}
