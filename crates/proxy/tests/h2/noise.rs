//! Frames at random: whatever comes, the proxy does not panic, and others are served.

use lateen_model::Protocol;
use lateen_proxy::random::Random;

use crate::peers::{Client, Raw, frame, get, pseudo, soon};
use crate::translate::gateway;
use crate::world::{Peer, run};

/// How many connections of noise are tried.
const ROUNDS: u64 = 300;

/// A frame that is valid by its length, of any type, flags and stream.
fn any_frame(random: &Random) -> Vec<u8> {
    let word = random.next();
    let [kind, flags, stream, length, choice, ..] = word.to_be_bytes();
    let payload: Vec<u8> = match choice % 4 {
        0 => pseudo(),
        1 => vec![0; usize::from(length % 16)],
        _ => (0..length % 64)
            .map(|_| random.next().to_be_bytes()[0])
            .collect(),
    };
    frame(kind % 12, flags, u32::from(stream % 16), &payload)
}

/// Answers what comes with a response, byte for byte the same.
async fn answer(mut web: Peer) {
    let mut room = vec![0; 64 * 1024];
    loop {
        let read = tokio::io::AsyncReadExt::read(&mut web.stream, &mut room).await;
        if !matches!(read, Ok(1..)) {
            return;
        }
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if tokio::io::AsyncWriteExt::write_all(&mut web.stream, response)
            .await
            .is_err()
        {
            return;
        }
    }
}

#[test]
fn clients_that_send_noise_harm_nobody_else() {
    run(async || {
        let world = std::rc::Rc::new(gateway(Protocol::Http));
        let dialled = std::rc::Rc::clone(&world);
        tokio::task::spawn_local(async move {
            loop {
                tokio::task::spawn_local(answer(dialled.upstream_of_any_time().await));
            }
        });
        let mut good = Client::new(world.client()).await;
        for seed in 0..ROUNDS {
            let random = Random::seeded(seed);
            let mut bad = Raw::new(world.client()).await;
            for _ in 0..20 {
                if !bad.send(&any_frame(&random)).await {
                    break;
                }
            }
            let (response, _) = good.open(get("/"), true).await;
            let response = soon(response).await.expect("a response");
            assert_eq!(response.status(), 200, "seed {seed}");
        }
    });
}

#[test]
fn upstreams_that_send_noise_harm_nobody_else() {
    run(async || {
        let world = gateway(Protocol::Http2);
        for seed in 0..ROUNDS {
            let random = Random::seeded(seed);
            let mut client = world.client();
            client.say("GET / HTTP/1.1\r\nHost: shop\r\n\r\n").await;
            let mut web = world.upstream().await;
            web.say(frame(4, 0, 0, &[])).await;
            let mut bad = Raw(web);
            for _ in 0..20 {
                if !bad.send(&any_frame(&random)).await {
                    break;
                }
            }
            drop(bad);
            let head = client.hear_head().await;
            assert!(head.starts_with("HTTP/1.1 "), "seed {seed}: {head}");
        }
    });
}
