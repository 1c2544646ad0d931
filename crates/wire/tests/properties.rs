//! Properties: pieces give what the whole gives, and what is written is read as it was.

#[path = "support/exchange.rs"]
mod exchange;

use exchange::{Requests, Served, answer};
use lateen_wire::h1::chunked::{Decoder, Event, Mode, write_chunk};
use lateen_wire::h1::head::{Limits, Progress};
use lateen_wire::h1::response::Asked;
use lateen_wire::h1::write::{self, RequestChanges};
use lateen_wire::h1::{request, target};
use lateen_wire::sniff::{Verdict, sniff};
use lateen_wire::{Error, corpus};
use proptest::prelude::*;

/// Bytes that are near to messages: words of the grammar in any order.
fn near_message() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => Just(&b"\r\n"[..]),
        2 => Just(&b"\r\n\r\n"[..]),
        2 => Just(&b"GET / HTTP/1.1\r\nHost: a\r\n"[..]),
        2 => Just(&b"POST / HTTP/1.1\r\nHost: a\r\n"[..]),
        1 => Just(&b"HTTP/1.1 200 OK\r\n"[..]),
        1 => Just(&b"Host: b\r\n"[..]),
        2 => Just(&b"Content-Length: 5\r\n\r\nhello"[..]),
        1 => Just(&b"Content-Length: 0\r\n"[..]),
        3 => Just(&b"Transfer-Encoding: chunked\r\n\r\n"[..]),
        3 => Just(&b"5\r\nhello\r\n"[..]),
        2 => Just(&b"2;a=\"b\"\r\nhi\r\n"[..]),
        3 => Just(&b"0\r\n\r\n"[..]),
        1 => Just(&b"0\r\nX: y\r\n\r\n"[..]),
        1 => Just(&b"Connection: close\r\n"[..]),
        1 => Just(&b"Connection: x, upgrade\r\nUpgrade: y\r\n"[..]),
        1 => Just(&b"X: \t y z \r\n"[..]),
        1 => Just(&b"\n"[..]),
        1 => Just(&b"\r"[..]),
        1 => Just(&b" "[..]),
        1 => Just(&b"\0"[..]),
    ];
    prop::collection::vec(word, 0..12).prop_map(|words| words.concat())
}

/// Cuts `input` at these places.
fn cut<'a>(input: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for place in places.into_iter().chain([input.len()]) {
        pieces.push(&input[start..place]);
        start = place;
    }
    pieces
}

/// What was sent on, without the boundaries of chunks, which depend on how the input arrived.
fn meaning(served: &Served) -> Vec<(Vec<u8>, Vec<u8>)> {
    let read = |bytes: &Vec<u8>| {
        let mut head = request::Head::default();
        let progress = head.parse(bytes, &Limits::default());
        assert_eq!(progress, Ok(Progress::Complete), "{}", bytes.escape_ascii());
        let (head, body) = bytes.split_at(head.len());
        let content = data(body).unwrap_or_else(|_| body.to_vec());
        (head.to_vec(), content)
    };
    served.upstream.iter().map(read).collect()
}

/// The data and trailers of a chunked body.
fn data(mut body: &[u8]) -> Result<Vec<u8>, Error> {
    let mut decoder = Decoder::new(Mode::Decode);
    let mut data = Vec::new();
    loop {
        let step = decoder.next(body)?;
        match step.event {
            Event::Data(range) => data.extend_from_slice(&body[range]),
            Event::NeedMore => return Ok(data),
            Event::End(_) => {
                data.extend_from_slice(decoder.trailers());
                return Ok(data);
            }
            Event::Verbatim { .. } => unreachable!("not in this mode"),
        }
        body = &body[step.consumed..];
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_of_requests_give_what_the_whole_gives(
        input in near_message(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let whole = Requests::serve([&*input]);
        let pieces = Requests::serve(cut(&input, &cuts));
        let bytes = Requests::serve(input.chunks(1));
        prop_assert_eq!(meaning(&whole), meaning(&pieces));
        prop_assert_eq!(meaning(&whole), meaning(&bytes));
        prop_assert_eq!(whole.then, pieces.then);
        prop_assert_eq!(whole.then, bytes.then);
    }

    #[test]
    fn pieces_of_responses_give_what_the_whole_gives(input in near_message(), closes: bool) {
        let whole = answer([&*input], closes, Asked::default());
        let bytes = answer(input.chunks(1), closes, Asked::default());
        prop_assert_eq!(
            std::mem::discriminant(&whole),
            std::mem::discriminant(&bytes)
        );
    }

    #[test]
    fn pieces_of_a_corpus_case_give_what_the_whole_gives(
        index in any::<prop::sample::Index>(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let cases: Vec<_> = corpus::requests().collect();
        let case = cases[index.index(cases.len())];
        let input = case.input.bytes();
        let served = Requests::serve(cut(&input, &cuts));
        prop_assert_eq!(served.then, case.then, "{}", case.name);
        prop_assert_eq!(served.upstream.len(), case.forwarded.len(), "{}", case.name);
    }

    #[test]
    fn what_is_sent_on_is_sent_on_again_as_it_is(input in near_message()) {
        for bytes in Requests::serve([&*input]).upstream {
            let again = Requests::serve([&*bytes]);
            prop_assert_eq!(again.upstream, [bytes]);
        }
    }

    #[test]
    fn a_valid_head_is_written_and_read_as_it_was(
        method in "[A-Z]{1,8}",
        path in "/[!-\"$-~]{0,20}",
        host in "[a-z0-9._-]{1,12}(:[0-9]{1,4})?",
        fields in prop::collection::vec(("[A-Za-z0-9_-]{1,10}", "[ -~\t]{0,12}", "[ \t]{0,2}"), 0..10),
    ) {
        prop_assume!(method != "CONNECT");
        let mut input = format!("{method} {path} HTTP/1.1\r\nHost:{host}\r\n");
        for (name, value, space) in &fields {
            input.push_str(&format!("x-{name}:{space}{value}{space}\r\n"));
        }
        input.push_str("\r\n");
        let first = rewrite(input.as_bytes());
        prop_assert_eq!(rewrite(&first), first.clone());
        let mut head = request::Head::default();
        head.parse(&first, &Limits::default()).unwrap();
        let view = head.view(&first);
        prop_assert_eq!(view.target(), path.as_bytes());
        let got: Vec<_> = view.fields().iter().skip(1).collect();
        let names: Vec<String> = fields.iter().map(|(name, ..)| format!("x-{name}")).collect();
        prop_assert_eq!(got.len(), fields.len());
        for ((got_name, got_value), (name, (_, value, _))) in got.iter().zip(names.iter().zip(&fields)) {
            prop_assert_eq!(*got_name, name.as_bytes());
            prop_assert_eq!(*got_value, value.as_bytes().trim_ascii());
        }
    }

    #[test]
    fn chunks_of_any_data_are_decoded_to_it(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut body = Vec::new();
        for part in &parts {
            write_chunk(&mut body, part);
        }
        Decoder::default().write_end(&mut body);
        prop_assert_eq!(data(&body), Ok(parts.concat()));
        let mut input = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        input.extend_from_slice(&body);
        let served = Requests::serve(cut(&input, &cuts));
        prop_assert_eq!(&meaning(&served)[0].1, &parts.concat());
    }

    #[test]
    fn a_verdict_does_not_change_with_more_bytes(input in near_message(), more in near_message()) {
        let verdict = sniff(&input);
        if verdict != Verdict::NeedMore {
            prop_assert_eq!(sniff(&[input, more].concat()), verdict);
        }
    }

    #[test]
    fn what_a_head_parser_serves_is_sniffed_as_http(input in near_message()) {
        if !Requests::serve([&*input]).upstream.is_empty() {
            prop_assert_eq!(sniff(&input), Verdict::Http1);
        }
    }

    #[test]
    fn any_authority_is_split_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        if let Some(authority) = target::Authority::new(&bytes) {
            prop_assert!(!authority.host().is_empty());
            prop_assert!(authority.as_bytes().starts_with(authority.host()));
        }
    }
}

/// Parses a head and writes it without changes.
fn rewrite(input: &[u8]) -> Vec<u8> {
    let mut head = request::Head::default();
    let progress = head.parse(input, &Limits::default());
    assert_eq!(progress, Ok(Progress::Complete), "{}", input.escape_ascii());
    let mut out = Vec::new();
    write::request(&mut out, head.view(input), &RequestChanges::default());
    out
}
