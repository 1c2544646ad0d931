//! The smallest HTTP server: this test binary as the image `tester`.
//!
//! `serve PORT [TEXT]` answers `/missing` with 404 and anything else with the text.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;

use lateen_local::node::images::Mapping;

/// What the image is mapped to.
pub(crate) fn image() -> Mapping {
    Mapping {
        image: "tester".into(),
        program: std::env::current_exe().expect("this program has a path"),
        arguments: Vec::new(),
    }
}

/// Serves if that is what this process is for.
pub(crate) fn main() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    if arguments.next()? != "serve" {
        return None;
    }
    let port: u16 = arguments.next()?.parse().ok()?;
    let text = arguments.next().unwrap_or_default();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free");
    serve(&listener, &text);
    Some(ExitCode::SUCCESS)
}

/// Answers whoever comes.
pub(crate) fn serve(listener: &TcpListener, text: &str) {
    for stream in listener.incoming().flatten() {
        let text = text.to_owned();
        thread::spawn(move || answer(stream, &text));
    }
}

fn answer(mut stream: TcpStream, text: &str) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let request = lines.next()?.ok()?;
    while !lines.next()?.ok()?.is_empty() {}
    let status = if request.contains(" /missing ") {
        "404 Not Found"
    } else {
        "200 OK"
    };
    let length = text.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(format!("{head}{text}").as_bytes()).ok()
}
