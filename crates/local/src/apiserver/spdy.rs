//! SPDY/3.1, as far as kubectl speaks it: frames out of bytes and bytes for frames.
//!
//! ```text
//! control  1 | version 15 | type 16 | flags 8 | length 24 | payload
//! data     0 | stream 31            | flags 8 | length 24 | bytes
//! ```
//!
//! Kubernetes took SPDY for its streams when HTTP/2 was not there yet, and kubectl still does: on an
//! upgraded connection, or within the messages of a WebSocket. It opens streams, it is answered, and
//! bytes go both ways; nobody there limits windows, sends settings or uses priorities, so that these
//! frames are read over. That a peer reads slowly is felt on the connection as a whole.

mod headers;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use headers::Inflater;

/// The version that is spoken: SPDY/3.1 calls itself 3 in its frames.
const VERSION: u16 = 3;
/// The length of what comes before a payload.
const HEAD: usize = 8;
/// The longest payload; clients send what they have read, some 32 KiB.
const MOST_PAYLOAD: usize = 1024 * 1024;
/// The flag of a stream's last frame.
const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;

/// The status of `RST_STREAM` for a stream that is not taken.
const REFUSED_STREAM: u32 = 3;

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// It opens a stream.
    Open {
        stream: u32,
        headers: Vec<(String, String)>,
        /// It will send nothing on it.
        is_last: bool,
    },
    /// It sends bytes.
    Data {
        stream: u32,
        bytes: Bytes,
        is_last: bool,
    },
    /// It wants no more of a stream.
    Reset { stream: u32 },
    /// It wants this to come back.
    Ping { id: u32 },
}

/// Why a connection cannot go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("a frame of SPDY version {0}, not {VERSION}")]
    Version(u16),
    #[error("a frame of {0} bytes, where at most {MOST_PAYLOAD} are taken")]
    TooLong(usize),
    #[error("a frame of type {0} is too short")]
    TooShort(u16),
    #[error("the headers of a stream: {0}")]
    Headers(String),
}

/// Frames out of bytes.
#[derive(Debug)]
pub(crate) struct Decoder {
    buffer: BytesMut,
    inflater: Inflater,
}

/// Bytes for frames.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    has_replied: bool,
}

// === impl Decoder ===

impl Decoder {
    pub(crate) fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            inflater: Inflater::new(),
        }
    }

    /// Takes bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// The bytes are no frame that can be understood; nothing after them can be either.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            let Some(mut head) = self.buffer.get(..HEAD) else {
                return Ok(None);
            };
            let (first, second) = (head.get_u32(), head.get_u32());
            let [flags, length @ ..] = second.to_be_bytes();
            let [a, b, c] = length;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if length > MOST_PAYLOAD {
                return Err(Error::TooLong(length));
            }
            if self.buffer.len() < HEAD + length {
                return Ok(None);
            }
            self.buffer.advance(HEAD);
            let payload = self.buffer.split_to(length).freeze();
            let is_last = flags & FIN != 0;
            let [a, b, c, d] = first.to_be_bytes();
            let version = u16::from_be_bytes([a, b]);
            let frame = match version.checked_sub(0x8000) {
                None => Some(Frame::Data {
                    stream: first,
                    bytes: payload,
                    is_last,
                }),
                Some(VERSION) => self.control(u16::from_be_bytes([c, d]), payload, is_last)?,
                Some(version) => return Err(Error::Version(version)),
            };
            if frame.is_some() {
                return Ok(frame);
            }
        }
    }

    /// A control frame, if it is of a type that matters.
    fn control(
        &mut self,
        kind: u16,
        mut payload: Bytes,
        is_last: bool,
    ) -> Result<Option<Frame>, Error> {
        let number = |payload: &mut Bytes| {
            let number = payload.try_get_u32().map_err(|_| Error::TooShort(kind))?;
            // The highest bit of a stream's number has no meaning.
            Ok::<_, Error>(number & 0x7fff_ffff)
        };
        Ok(match kind {
            SYN_STREAM => {
                let stream = number(&mut payload)?;
                // The stream that it belongs to, then its priority.
                number(&mut payload)?;
                let block = payload.get(2..).ok_or(Error::TooShort(kind))?;
                Some(Frame::Open {
                    stream,
                    headers: self.inflater.headers(block)?,
                    is_last,
                })
            }
            RST_STREAM => Some(Frame::Reset {
                stream: number(&mut payload)?,
            }),
            PING => Some(Frame::Ping {
                id: number(&mut payload)?,
            }),
            _ => None,
        })
    }
}

// === impl Encoder ===

impl Encoder {
    /// Takes a stream.
    pub(crate) fn reply(&mut self, stream: u32) -> Bytes {
        // No headers, compressed: the beginning of zlib's stream, a block that is stored as it is and
        // has a count of zero, and an empty one, by which readers know that no more is to come now.
        let mut payload = stream.to_be_bytes().to_vec();
        if !std::mem::replace(&mut self.has_replied, true) {
            payload.extend_from_slice(&[0x78, 0x01]);
        }
        payload.extend_from_slice(&[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0]);
        payload.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
        control(SYN_REPLY, &payload)
    }

    /// Takes no stream.
    pub(crate) fn refuse(stream: u32) -> Bytes {
        let status = REFUSED_STREAM.to_be_bytes();
        control(RST_STREAM, &[stream.to_be_bytes(), status].concat())
    }

    /// Sends a ping back.
    pub(crate) fn pong(id: u32) -> Bytes {
        control(PING, &id.to_be_bytes())
    }

    /// Sends bytes on a stream.
    ///
    /// # Panics
    /// If there are more than a frame takes, 16 MiB.
    pub(crate) fn data(stream: u32, bytes: &[u8], is_last: bool) -> Bytes {
        frame(stream, if is_last { FIN } else { 0 }, bytes)
    }
}

fn control(kind: u16, payload: &[u8]) -> Bytes {
    let first = u32::from(0x8000 | VERSION) << 16 | u32::from(kind);
    frame(first, 0, payload)
}

fn frame(first: u32, flags: u8, payload: &[u8]) -> Bytes {
    let length = u32::try_from(payload.len()).ok();
    let length = length.filter(|length| length >> 24 == 0);
    let length = length.expect("what is sent was read into a buffer of some KiB");
    let mut frame = BytesMut::with_capacity(HEAD + payload.len());
    frame.put_u32(first);
    frame.put_u32(u32::from(flags) << 24 | length);
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::headers::tests::deflated;
    use super::*;

    fn open(stream: u32, block: &[u8]) -> Bytes {
        let fixed = [&stream.to_be_bytes()[..], &[0; 6]].concat();
        control(SYN_STREAM, &[&fixed, block].concat())
    }

    #[test]
    fn frames_are_read_in_whatever_pieces_they_come() {
        let blocks = deflated(&[&[("streamtype", "data"), ("port", "80")], &[("port", "81")]]);
        let settings = control(4, &[0; 12]);
        let all = [
            open(1, &blocks[0]),
            settings,
            open(3, &blocks[1]),
            Encoder::data(1, b"hello", true),
            Encoder::pong(7),
            Encoder::refuse(3),
        ]
        .concat();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = [
            Frame::Open {
                stream: 1,
                headers: vec![pair("streamtype", "data"), pair("port", "80")],
                is_last: false,
            },
            Frame::Open {
                stream: 3,
                headers: vec![pair("port", "81")],
                is_last: false,
            },
            Frame::Data {
                stream: 1,
                bytes: Bytes::from_static(b"hello"),
                is_last: true,
            },
            Frame::Ping { id: 7 },
            Frame::Reset { stream: 3 },
        ];
        for size in [1, 7, all.len()] {
            let mut decoder = Decoder::new();
            let mut frames = Vec::new();
            for piece in all.chunks(size) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_frame_ends_the_connection() {
        let next = |bytes: &[u8]| {
            let mut decoder = Decoder::new();
            decoder.feed(bytes);
            decoder.next()
        };
        assert_eq!(next(&[0x80, 2, 0, 6, 0, 0, 0, 0]), Err(Error::Version(2)));
        assert_eq!(
            next(&[0, 0, 0, 1, 0, 0xff, 0, 0]),
            Err(Error::TooLong(0xff_0000))
        );
        assert_eq!(next(&control(PING, &[1])), Err(Error::TooShort(PING)));
        assert_eq!(
            next(&control(SYN_STREAM, &[0; 9])),
            Err(Error::TooShort(SYN_STREAM))
        );
        assert!(matches!(next(&open(1, b"x")), Err(Error::Headers(_))));
    }

    #[test]
    fn replies_have_no_headers_and_one_stream_of_compression() {
        let mut encoder = Encoder::default();
        let mut inflater = Inflater::new();
        for stream in [1, 3, 5] {
            let reply = encoder.reply(stream);
            assert_eq!(reply[..4], [0x80, 3, 0, 2]);
            assert_eq!(reply[8..12], stream.to_be_bytes());
            assert_eq!(inflater.headers(&reply[12..]), Ok(Vec::new()));
        }
    }
}
