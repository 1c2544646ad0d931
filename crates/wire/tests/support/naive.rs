//! A reader of messages that shares no code with the crate: it knows one way to write each thing
//! and panics at any other, so it also checks that what is sent on is plain.

/// A message as its receiver sees it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) start: String,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
}

impl Message {
    /// Reads a whole message; `has_content` is false for responses without content.
    pub(crate) fn read(bytes: &[u8], has_content: bool) -> Self {
        let (head, mut body) = split(bytes, b"\r\n\r\n").expect("a head ends with an empty line");
        let (start, lines) = split(head, b"\r\n").unwrap_or((head, b""));
        let mut message = Self {
            start: text(start),
            fields: fields(lines),
            content: Vec::new(),
            trailers: Vec::new(),
        };
        let chunked = message.all("transfer-encoding");
        let length = message.all("content-length");
        if !has_content {
            assert!(body.is_empty(), "bytes after a head without content");
            return message;
        }
        match (&chunked[..], &length[..]) {
            ([], []) => assert!(body.is_empty(), "bytes after a head without a body"),
            ([], [length]) => {
                assert_eq!(text(length), body.len().to_string());
                message.content = body.to_vec();
            }
            ([b"chunked"], []) => loop {
                let (size, rest) = split(body, b"\r\n").expect("a size line");
                let size = usize::from_str_radix(&text(size), 16).expect("a plain size");
                if size == 0 {
                    if rest != b"\r\n" {
                        let lines = rest.strip_suffix(b"\r\n\r\n").expect("an end");
                        message.trailers = fields(lines);
                    }
                    break;
                }
                message.content.extend_from_slice(&rest[..size]);
                body = rest[size..].strip_prefix(b"\r\n").expect("an end of data");
            },
            _ => panic!("ambiguous framing: {message:?}"),
        }
        message
    }

    /// The values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&[u8]> {
        self.fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| &value[..])
            .collect()
    }

    /// Asserts that these fields are there, spelled so, in this order.
    pub(crate) fn assert_has(&self, expected: &[(&str, &str)]) {
        let mut rest = self.fields.iter();
        for (name, value) in expected {
            assert!(
                rest.any(|(field, present)| field == name && present == value.as_bytes()),
                "{name}: {value} is missing or out of order in {self:?}"
            );
        }
    }
}

fn fields(lines: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields = Vec::new();
    let mut rest = Some(lines).filter(|lines| !lines.is_empty());
    while let Some(lines) = rest {
        let (line, after) = match split(lines, b"\r\n") {
            Some((line, after)) => (line, Some(after)),
            None => (lines, None),
        };
        rest = after;
        assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        let (name, value) = split(line, b":").expect("a colon");
        let value = value.strip_prefix(b" ").unwrap_or(value);
        assert_eq!(value, value.trim_ascii(), "white space is normalised");
        assert!(!name.is_empty() && !name.iter().any(u8::is_ascii_whitespace));
        fields.push((text(name), value.to_vec()));
    }
    fields
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let start = bytes.windows(at.len()).position(|window| window == at)?;
    Some((&bytes[..start], &bytes[start + at.len()..]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
