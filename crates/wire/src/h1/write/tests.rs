use super::{request as write_request, response as write_response, *};
use crate::h1::head::{Limits, Progress};
use crate::h1::{request, response};

fn value(text: &str) -> Value<'_> {
    Value::new(text.as_bytes()).unwrap()
}

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

fn edit<'a>(field: &'a str, change: Change<'a>) -> Edit<'a> {
    Edit {
        name: name(field),
        change,
    }
}

fn rewritten(input: &str, changes: &RequestChanges<'_>) -> String {
    let mut head = request::Head::default();
    let progress = head.parse(input.as_bytes(), &Limits::default());
    assert_eq!(progress, Ok(Progress::Complete));
    let mut out = Vec::new();
    write_request(&mut out, head.view(input.as_bytes()), changes);
    String::from_utf8(out).unwrap()
}

fn answered(input: &str, client: Version, persistence: Persistence) -> (String, Sent) {
    let mut head = response::Head::default();
    let asked = response::Asked::default();
    let progress = head.parse(input.as_bytes(), &Limits::default(), asked);
    assert_eq!(progress, Ok(Progress::Complete));
    let mut out = Vec::new();
    let changes = ResponseChanges {
        client,
        persistence,
        edits: &[],
    };
    let sent = write_response(&mut out, head.view(input.as_bytes()), &changes);
    (String::from_utf8(out).unwrap(), sent)
}

#[test]
fn a_head_without_edits_is_the_same_bytes() {
    let input = "GET /a?b HTTP/1.1\r\nhost: a\r\nX-Y: z\r\naccept: */*\r\n\r\n";
    assert_eq!(rewritten(input, &RequestChanges::default()), input);
}

#[test]
fn fields_are_set_added_joined_and_removed() {
    let input = "GET / HTTP/1.1\r\nA: 1\r\nHost: a\r\nx-forwarded-for: 1.1.1.1\r\nB: 2\r\n\
                 X-Forwarded-For: 2.2.2.2\r\na: 3\r\nC: 4\r\nD: 5\r\n\r\n";
    let edits = [
        edit("a", Change::Set(value("new"))),
        edit("x-forwarded-for", Change::Join(value("3.3.3.3"))),
        edit("b", Change::Remove),
        edit("c", Change::Add(value("6"))),
        edit("d", Change::SetIfAbsent(value("7"))),
        edit("e", Change::SetIfAbsent(value("8"))),
    ];
    let changes = RequestChanges {
        edits: &edits,
        ..RequestChanges::default()
    };
    assert_eq!(
        rewritten(input, &changes),
        "GET / HTTP/1.1\r\nHost: a\r\nC: 4\r\nD: 5\r\na: new\r\n\
         x-forwarded-for: 1.1.1.1,2.2.2.2,3.3.3.3\r\nc: 6\r\ne: 8\r\n\r\n"
    );
}

#[test]
fn edits_cannot_touch_framing_host_or_connection() {
    let input = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    let protected = [
        "content-length",
        "Transfer-Encoding",
        "HOST",
        "connection",
        "upgrade",
        "te",
    ];
    for protected in protected {
        let edits = [
            edit(protected, Change::Remove),
            edit(protected, Change::Set(value("x"))),
            edit(protected, Change::Add(value("x"))),
            edit(protected, Change::Join(value("x"))),
        ];
        let changes = RequestChanges {
            edits: &edits,
            ..RequestChanges::default()
        };
        assert_eq!(rewritten(input, &changes), input, "{protected}");
    }
}

#[test]
fn target_and_authority_can_be_rewritten() {
    let input = "GET http://a/b?c HTTP/1.1\r\nX: 1\r\nHost: z\r\n\r\n";
    let changes = RequestChanges {
        target: OriginForm::new(b"/new?q"),
        authority: Authority::new(b"b:80"),
        ..RequestChanges::default()
    };
    let expected = "GET /new?q HTTP/1.1\r\nX: 1\r\nHost: b:80\r\n\r\n";
    assert_eq!(rewritten(input, &changes), expected);
}

#[test]
fn an_old_request_without_a_host_gets_the_one_that_is_given() {
    let changes = RequestChanges {
        authority: Authority::new(b"10.0.0.1:80"),
        ..RequestChanges::default()
    };
    assert_eq!(
        rewritten("GET / HTTP/1.0\r\nX: y\r\n\r\n", &changes),
        "GET / HTTP/1.1\r\nX: y\r\nhost: 10.0.0.1:80\r\n\r\n"
    );
}

#[test]
fn lines_with_odd_white_space_are_written_plainly() {
    let input = "GET / HTTP/1.1\r\nHost:a\r\nX: y\r\nY:\tz \r\nZ: \r\nW: v\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nY: z\r\nZ:\r\nW: v\r\n\r\n";
    assert_eq!(rewritten(input, &RequestChanges::default()), expected);
}

#[test]
fn an_upgrade_is_sent_on_only_if_the_proxy_wants_it() {
    let input = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let without = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(rewritten(input, &RequestChanges::default()), without);
}

#[test]
fn an_old_client_gets_a_chunked_body_until_close() {
    let input = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n";
    let (written, sent) = answered(input, Version::Http10, Persistence::KeepAlive);
    assert_eq!(
        written,
        "HTTP/1.1 200 OK\r\nX: y\r\nconnection: close\r\n\r\n"
    );
    assert_eq!(sent.body, Outgoing::UntilClose);
    assert_eq!(sent.persistence, Persistence::Close);
}

#[test]
fn an_old_client_is_told_that_its_connection_stays() {
    let input = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (written, sent) = answered(input, Version::Http10, Persistence::KeepAlive);
    assert_eq!(
        written,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nconnection: keep-alive\r\n\r\n"
    );
    assert_eq!(sent.persistence, Persistence::KeepAlive);
}

#[test]
fn a_client_is_told_that_its_connection_ends() {
    let input = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (written, _) = answered(input, Version::Http11, Persistence::Close);
    assert_eq!(
        written,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nconnection: close\r\n\r\n"
    );
}

#[test]
fn an_interim_response_says_nothing_about_the_connection() {
    let input = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let (written, _) = answered(input, Version::Http11, Persistence::Close);
    assert_eq!(written, input);
}

#[test]
fn numbers_are_written_in_full() {
    assert_eq!(Decimal::of(0).as_bytes(), b"0");
    assert_eq!(
        Decimal::of(u64::MAX).as_bytes(),
        u64::MAX.to_string().as_bytes()
    );
}
