//! A proxy without sockets, made of nothing but this crate's pieces: what the corpus is run
//! through, in whole and in pieces.

use lateen_wire::Error;
use lateen_wire::corpus::Then;
use lateen_wire::h1::chunked::{self, Decoder, Ending, Event, Mode};
use lateen_wire::h1::framing::{Body, Outgoing};
use lateen_wire::h1::head::{Limits, Persistence, Progress, Version};
use lateen_wire::h1::write::{self, RequestChanges, ResponseChanges};
use lateen_wire::h1::{request, response};

/// What a client's bytes led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Served {
    /// The requests that were sent on as a whole.
    pub(crate) upstream: Vec<Vec<u8>>,
    pub(crate) then: Then,
}

/// The client's side: reads requests, writes what an upstream would get.
pub(crate) struct Requests {
    buffer: Vec<u8>,
    head: request::Head,
    decoder: Decoder,
    body: Option<Body>,
    left: u64,
    persistence: Persistence,
    out: Vec<u8>,
    served: Vec<Vec<u8>>,
}

impl Requests {
    pub(crate) fn serve<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Served {
        let mut requests = Self {
            buffer: Vec::new(),
            head: request::Head::default(),
            decoder: Decoder::default(),
            body: None,
            left: 0,
            persistence: Persistence::KeepAlive,
            out: Vec::new(),
            served: Vec::new(),
        };
        let mut then = Then::Waits;
        for piece in pieces {
            requests.buffer.extend_from_slice(piece);
            match requests.run() {
                Ok(Persistence::KeepAlive) => {}
                Ok(Persistence::Close) => {
                    then = Then::Closes;
                    break;
                }
                Err(error) => {
                    then = Then::Refuses(error.request_status());
                    break;
                }
            }
        }
        Served {
            upstream: requests.served,
            then,
        }
    }

    /// Goes on as far as the buffer allows.
    fn run(&mut self) -> Result<Persistence, Error> {
        loop {
            let is_done = match self.body {
                None => {
                    if self.head.parse(&self.buffer, &Limits::default())? == Progress::NeedMore {
                        return Ok(Persistence::KeepAlive);
                    }
                    self.start();
                    continue;
                }
                Some(Body::Empty) => true,
                Some(Body::Length(_)) => {
                    let length = self
                        .buffer
                        .len()
                        .min(usize::try_from(self.left).expect("64 bits"));
                    self.out.extend(self.buffer.drain(..length));
                    self.left -= length as u64;
                    self.left == 0
                }
                Some(Body::Chunked) => relay(&mut self.decoder, &mut self.buffer, &mut self.out)?,
                Some(Body::UntilClose | Body::Tunnel) => unreachable!("not of a request"),
            };
            if !is_done {
                return Ok(Persistence::KeepAlive);
            }
            self.body = None;
            self.served.push(std::mem::take(&mut self.out));
            if self.persistence == Persistence::Close {
                return Ok(Persistence::Close);
            }
        }
    }

    fn start(&mut self) {
        let request = self.head.view(&self.buffer);
        let changes = RequestChanges {
            sends_upgrade: true,
            ..RequestChanges::default()
        };
        write::request(&mut self.out, request, &changes);
        self.persistence = request.persistence();
        self.body = Some(request.body());
        if let Body::Length(length) = request.body() {
            self.left = length;
        }
        self.decoder.reset(Mode::Relay);
        self.buffer.drain(..self.head.len());
    }
}

/// Sends chunks on; answers whether the body is complete.
fn relay(decoder: &mut Decoder, buffer: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<bool, Error> {
    loop {
        let step = decoder.next(buffer)?;
        let is_done = match step.event {
            Event::NeedMore => {
                assert_eq!(step.consumed, buffer.len());
                buffer.clear();
                return Ok(false);
            }
            Event::Verbatim { bytes, .. } => {
                out.extend_from_slice(&buffer[bytes]);
                false
            }
            Event::Data(range) => {
                chunked::write_chunk(out, &buffer[range]);
                false
            }
            Event::End(Ending::Relayed) => true,
            Event::End(Ending::ToWrite) => {
                decoder.write_end(out);
                true
            }
        };
        buffer.drain(..step.consumed);
        if is_done {
            return Ok(true);
        }
    }
}

/// What an upstream's bytes led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The responses as the client gets them, interim ones first, and the framing of the last.
    Whole(Vec<Vec<u8>>, Outgoing),
    /// The upstream is still at it.
    Unfinished,
    /// No usable head.
    BadGateway,
    /// A head, and a body that broke off.
    Truncated,
}

/// The upstream's side: reads responses, writes what an HTTP/1.1 client would get.
struct Responses {
    buffer: Vec<u8>,
    head: response::Head,
    decoder: Decoder,
    body: Option<(Body, Outgoing)>,
    left: u64,
    out: Vec<u8>,
    answers: Vec<Vec<u8>>,
}

/// Reads what an upstream sends, and what a client gets.
pub(crate) fn answer<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    closes: bool,
    asked: response::Asked<'_>,
) -> Answered {
    let mut responses = Responses {
        buffer: Vec::new(),
        head: response::Head::default(),
        decoder: Decoder::default(),
        body: None,
        left: 0,
        out: Vec::new(),
        answers: Vec::new(),
    };
    for piece in pieces {
        responses.buffer.extend_from_slice(piece);
        if let Err(error) = responses.read_heads(asked) {
            assert_eq!(error.response_status(), 502);
            return Answered::BadGateway;
        }
        let Some((body, outgoing)) = responses.body else {
            continue;
        };
        match responses.read_body(body) {
            Ok(true) => {
                responses.answers.push(responses.out);
                return Answered::Whole(responses.answers, outgoing);
            }
            Ok(false) => {}
            Err(_) => return Answered::Truncated,
        }
    }
    match responses.body {
        _ if !closes => Answered::Unfinished,
        None => Answered::BadGateway,
        Some((Body::UntilClose, outgoing)) => {
            Decoder::default().write_end(&mut responses.out);
            responses.answers.push(responses.out);
            Answered::Whole(responses.answers, outgoing)
        }
        Some(_) => Answered::Truncated,
    }
}

impl Responses {
    /// Reads interim heads and the final one, as far as they are there.
    fn read_heads(&mut self, asked: response::Asked<'_>) -> Result<(), Error> {
        while self.body.is_none() {
            let progress = self.head.parse(&self.buffer, &Limits::default(), asked)?;
            if progress == Progress::NeedMore {
                break;
            }
            let view = self.head.view(&self.buffer);
            let changes = ResponseChanges {
                client: Version::Http11,
                persistence: Persistence::KeepAlive,
                edits: &[],
            };
            let sent = write::response(&mut self.out, view, &changes);
            if view.is_interim() {
                self.answers.push(std::mem::take(&mut self.out));
            } else {
                self.body = Some((view.body(), sent.body));
                if let Body::Length(length) = view.body() {
                    self.left = length;
                }
            }
            self.buffer.drain(..self.head.len());
        }
        Ok(())
    }

    /// Sends the body on as far as it is there; answers whether it is complete.
    fn read_body(&mut self, body: Body) -> Result<bool, Error> {
        Ok(match body {
            Body::Empty | Body::Tunnel => true,
            Body::Length(_) => {
                let left = usize::try_from(self.left).expect("64 bits");
                let length = self.buffer.len().min(left);
                self.out.extend(self.buffer.drain(..length));
                self.left -= length as u64;
                self.left == 0
            }
            Body::Chunked => relay(&mut self.decoder, &mut self.buffer, &mut self.out)?,
            Body::UntilClose => {
                chunked::write_chunk(&mut self.out, &self.buffer);
                self.buffer.clear();
                false
            }
        })
    }
}
