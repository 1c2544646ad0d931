use super::*;

type Decoded = (Vec<u8>, Vec<u8>, Option<Ending>);

/// Decodes `pieces`; answers what a next hop gets, the data, and how the body ended.
fn decode(pieces: &[&[u8]], mode: Mode) -> Result<Decoded, Error> {
    let mut decoder = Decoder::new(mode);
    let (mut sent, mut data) = (Vec::new(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let step = decoder.next(rest)?;
            match step.event {
                Event::NeedMore => break,
                Event::Verbatim { bytes, .. } => sent.extend_from_slice(&rest[bytes]),
                Event::Data(range) => {
                    write_chunk(&mut sent, &rest[range.clone()]);
                    data.extend_from_slice(&rest[range]);
                }
                Event::End(ending) => {
                    if ending == Ending::ToWrite {
                        decoder.write_end(&mut sent);
                    }
                    return Ok((sent, data, Some(ending)));
                }
            }
            rest = &rest[step.consumed..];
        }
    }
    Ok((sent, data, None))
}

#[test]
fn canonical_chunks_are_sent_on_in_one_piece() {
    let input = b"5\r\nhello\r\n1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\nrest";
    let mut decoder = Decoder::new(Mode::Relay);
    let step = decoder.next(input).unwrap();
    let event = Event::Verbatim {
        bytes: 0..input.len() - 4,
        data: 31,
    };
    assert_eq!((step.event, step.consumed), (event, input.len() - 4));
    let step = decoder.next(&input[step.consumed..]).unwrap();
    assert_eq!(step.event, Event::End(Ending::Relayed));
    assert_eq!(step.consumed, 0);
}

#[test]
fn a_chunk_with_an_extension_is_framed_anew() {
    let input = b"5\r\nhello\r\n0003;a=\"b\"\r\nabc\r\n2\r\nde\r\n0;x\r\n\r\n";
    let (sent, _, ending) = decode(&[input], Mode::Relay).unwrap();
    assert_eq!(sent, b"5\r\nhello\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(ending, Some(Ending::ToWrite));
}

#[test]
fn a_size_that_does_not_fit_31_bits_is_framed_anew() {
    let mut decoder = Decoder::new(Mode::Relay);
    let step = decoder.next(b"100000005\r\nhello").unwrap();
    assert_eq!(step.event, Event::Data(11..16));
    decoder.reset(Mode::Relay);
    let step = decoder.next(b"80000000\r\nhello").unwrap();
    assert_eq!(step.event, Event::Data(10..15));
}

#[test]
fn a_size_with_leading_zeros_is_framed_anew() {
    let (sent, ..) = decode(&[b"0005\r\nhello\r\n00\r\n\r\n"], Mode::Relay).unwrap();
    assert_eq!(sent, b"5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn the_last_chunk_that_arrives_in_pieces_is_written_anew() {
    let pieces: &[&[u8]] = &[b"5\r\nhel", b"lo\r", b"\n0\r", b"\n\r", b"\n"];
    let (sent, _, ending) = decode(pieces, Mode::Relay).unwrap();
    assert_eq!(sent, b"5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(ending, Some(Ending::ToWrite));
}

#[test]
fn decoding_gives_data_only() {
    let input = b"5\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n";
    let (_, data, ending) = decode(&[input], Mode::Decode).unwrap();
    assert_eq!(data, b"hello!");
    assert_eq!(ending, Some(Ending::ToWrite));
}

#[test]
fn nothing_after_the_end_is_consumed() {
    let input = b"0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n";
    let mut decoder = Decoder::new(Mode::Relay);
    let step = decoder.next(input).unwrap();
    assert_eq!(step.event, Event::End(Ending::ToWrite));
    assert_eq!(&input[step.consumed..], b"GET / HTTP/1.1\r\n");
    assert_eq!(decoder.trailers(), b"X: y\r\n");
}

#[test]
fn long_extensions_are_fine_where_the_data_justifies_them() {
    let mut input = Vec::new();
    for _ in 0..1000 {
        input.extend_from_slice(b"40;signature=0123456789abcdef0123456789abcdef\r\n");
        input.extend_from_slice(&[b'x'; 64]);
        input.extend_from_slice(CRLF);
    }
    input.extend_from_slice(b"0\r\n\r\n");
    let (_, data, _) = decode(&[&input], Mode::Decode).unwrap();
    assert_eq!(data.len(), 64_000);
}

#[test]
fn a_decoder_can_be_used_again() {
    let mut decoder = Decoder::new(Mode::Relay);
    decoder.next(b"0\r\nX: y\r\n\r\n").unwrap();
    decoder.reset(Mode::Decode);
    assert!(!decoder.is_done() && decoder.trailers().is_empty());
    let step = decoder.next(b"1\r\na\r\n0\r\n\r\n").unwrap();
    assert_eq!(step.event, Event::Data(3..4));
}

#[test]
fn sizes_are_written_without_leading_zeros() {
    for (size, line) in [
        (1, "1\r\n"),
        (16, "10\r\n"),
        (0xabc_def0, "abcdef0\r\n"),
        (0, ""),
    ] {
        let mut out = Vec::new();
        write_start(&mut out, size);
        assert_eq!(out, line.as_bytes());
    }
    let mut out = Vec::new();
    write_start(&mut out, usize::MAX);
    assert_eq!(out.len(), MAX_START);
}
