//! What is fuzzed: everything that reads bytes of strangers.
//!
//! It is not a test suite: a target says what must hold for *any* input. Each is a function
//! `run(&[u8])` that panics when it does not hold, so that an ordinary test can run it too; the
//! binaries in `targets/` hand libFuzzer's inputs to it, and `run.sh` builds and runs them.
//!
//! A new target is a module here, a file in `targets/`, a `[[bin]]` in `Cargo.toml`, and its seeds
//! in [`seeds`].

pub mod chunked;
pub mod client_hello;
pub mod dns;
pub mod h1_request_head;
pub mod h1_response_head;
pub mod h2_frames;
pub mod route_table;
pub mod sniff;
pub mod tls_session;

use lateen_wire::corpus;

/// The inputs with which each target starts: the corpus of RFC 9112, which knows the grammar
/// better than a fuzzer finds out in a minute.
pub fn seeds() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let requests: Vec<Vec<u8>> = corpus::requests()
        .map(|case| case.input.bytes().into_owned())
        .filter(|input| input.len() < 4096)
        .collect();
    let responses = corpus::RESPONSES
        .iter()
        .map(|case| case.input.bytes())
        .filter(|input| input.len() < 4096)
        .map(|input| [&[0], &*input].concat())
        .collect();
    let bodies = requests
        .iter()
        .filter_map(|input| {
            let head = input.windows(4).position(|window| window == b"\r\n\r\n")?;
            Some([&[7], &input[head + 4..]].concat())
        })
        .collect();
    let mut first_bytes = requests.clone();
    first_bytes.push(lateen_wire::sniff::HTTP2_PREFACE.to_vec());
    first_bytes.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec());
    first_bytes.push(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec());
    vec![
        ("h1_request_head", requests),
        ("h1_response_head", responses),
        ("chunked", bodies),
        ("sniff", first_bytes),
        ("client_hello", client_hellos()),
        ("dns", dns::seeds()),
        ("route_table", route_table::seeds()),
        ("h2_frames", h2_frames::seeds()),
        ("tls_session", tls_session::seeds()),
    ]
}

/// ClientHellos for names of every length up to 40, whole and split over records.
fn client_hellos() -> Vec<Vec<u8>> {
    let hello = |name: &[u8]| {
        let names = vector16(&[&[0], &vector16(name)[..]].concat());
        let extensions = [
            &[0, 43][..], // Supported versions, to have an extension before the name.
            &vector16(&[2, 3, 4]),
            &[0, 0],
            &vector16(&names),
        ]
        .concat();
        let body = [
            &[3, 3][..],
            &[7; 32],
            &[0],
            &vector16(&[0x13, 0x01]),
            &[1, 0],
            &vector16(&extensions),
        ]
        .concat();
        [&[1, 0][..], &vector16(&body)].concat()
    };
    let names = (1..=40).map(|length| vec![b'a'; length]);
    names
        .flat_map(|name| {
            let hello = hello(&name);
            let split = hello.chunks(name.len());
            let split: Vec<u8> = split.flat_map(|part| record(22, part)).collect();
            [record(22, &hello), split]
        })
        .collect()
}

/// A record of TLS of this type.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &vector16(content)].concat()
}

/// Bytes after their length.
fn vector16(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("seeds are short");
    [&length.to_be_bytes()[..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use lateen_wire::server_name::{ServerName, server_name};

    #[test]
    fn the_seeds_of_client_hello_have_their_names() {
        for seed in super::client_hellos() {
            assert!(matches!(server_name(&seed), ServerName::Name(_)));
        }
    }

    #[test]
    fn every_target_holds_for_its_seeds() {
        for (target, seeds) in super::seeds() {
            assert!(seeds.len() > 20, "{target}");
            for seed in &seeds {
                match target {
                    "h1_request_head" => super::h1_request_head::run(seed),
                    "h1_response_head" => super::h1_response_head::run(seed),
                    "chunked" => super::chunked::run(seed),
                    "sniff" => super::sniff::run(seed),
                    "client_hello" => super::client_hello::run(seed),
                    "dns" => super::dns::run(seed),
                    "route_table" => super::route_table::run(seed),
                    "h2_frames" => super::h2_frames::run(seed),
                    "tls_session" => super::tls_session::run(seed),
                    other => panic!("{other} has seeds but is not run here"),
                }
            }
        }
    }
}
