//! Chunked bodies: pieces give what the whole gives, what is sent on means the same to the next
//! hop, and nothing after the end is touched. The first byte of the input is the size of the
//! pieces.

use lateen_wire::Error;
use lateen_wire::h1::chunked::{Decoder, Ending, Event, Mode, write_chunk};

/// What a body was decoded to.
#[derive(Debug, PartialEq, Eq)]
struct Decoded {
    /// What the next hop gets.
    sent: Vec<u8>,
    /// How many bytes of the input belong to the body, if it is complete.
    length: Option<usize>,
    trailers: Vec<u8>,
}

/// Checks one input.
///
/// # Panics
/// If a property does not hold.
pub fn run(input: &[u8]) {
    let Some((size, input)) = input.split_first() else {
        return;
    };
    let size = usize::from(*size).max(1);
    let data = decode(input, input.len().max(1), Mode::Decode);
    let pieces = decode(input, size, Mode::Decode);
    assert_eq!(
        data.as_ref().map_err(|error| *error),
        pieces.as_ref().map_err(|error| *error),
        "pieces differ from the whole"
    );
    for size in [input.len().max(1), size] {
        let relayed = decode(input, size, Mode::Relay);
        let (data, relayed) = match (&data, relayed) {
            (Ok(data), Ok(relayed)) => (data, relayed),
            (Err(error), Err(again)) => {
                assert_eq!(*error, again, "the modes refuse differently");
                continue;
            }
            (data, relayed) => panic!("the modes differ: {data:?} {relayed:?}"),
        };
        assert_eq!(data.length, relayed.length);
        assert_eq!(data.trailers, relayed.trailers);
        let again = decode(&relayed.sent, relayed.sent.len().max(1), Mode::Decode)
            .expect("what is sent on is valid");
        assert_eq!(again.sent, data.sent, "the next hop reads other data");
        if data.length.is_some() {
            assert_eq!(again.length, Some(relayed.sent.len()));
            assert_eq!(again.trailers, data.trailers);
        }
        assert!(
            !relayed.sent.contains(&b';') || data.sent.contains(&b';') || !data.trailers.is_empty()
        );
    }
}

/// Decodes `input` in pieces of `size`.
fn decode(input: &[u8], size: usize, mode: Mode) -> Result<Decoded, Error> {
    let mut decoder = Decoder::new(mode);
    let mut sent = Vec::new();
    let mut length = 0;
    for piece in input.chunks(size) {
        let mut rest = piece;
        loop {
            let step = decoder.next(rest)?;
            length += step.consumed;
            match step.event {
                Event::NeedMore => {
                    assert_eq!(step.consumed, rest.len());
                    break;
                }
                Event::Verbatim { bytes, data } => {
                    assert_eq!(bytes, 0..step.consumed);
                    assert!(data <= bytes.len());
                    sent.extend_from_slice(&rest[bytes]);
                }
                Event::Data(range) if mode == Mode::Decode => sent.extend_from_slice(&rest[range]),
                Event::Data(range) => write_chunk(&mut sent, &rest[range]),
                Event::End(ending) => {
                    if mode == Mode::Relay && ending == Ending::ToWrite {
                        decoder.write_end(&mut sent);
                    }
                    return Ok(Decoded {
                        sent,
                        length: Some(length),
                        trailers: decoder.trailers().to_vec(),
                    });
                }
            }
            rest = &rest[step.consumed..];
        }
    }
    Ok(Decoded {
        sent,
        length: None,
        trailers: Vec::new(),
    })
}
