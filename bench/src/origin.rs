//! The upstream that every peer forwards to: answers any request at once with a fixed body.

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Serves `/<number>` with that many bytes until the process ends.
pub(crate) async fn serve(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .context("origin")?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            // A peer that closes its connection ends it; nothing is lost that is not counted there.
            answer(stream).await.ok();
        });
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut filled = 0;
    let mut response = Vec::new();
    let mut response_size = usize::MAX;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        while let Some(end) = end_of_head(&buffer[..filled]) {
            let size = size_of(&buffer[..end]);
            if size != response_size {
                response = respond(size);
                response_size = size;
            }
            stream.write_all(&response).await?;
            buffer.copy_within(end..filled, 0);
            filled -= end;
        }
    }
}

/// Where the head ends, if it is whole.
pub(crate) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

fn size_of(head: &[u8]) -> usize {
    let path = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    std::str::from_utf8(path)
        .ok()
        .and_then(|path| path.trim_start_matches('/').parse().ok())
        .unwrap_or(512)
}

fn respond(size: usize) -> Vec<u8> {
    let mut bytes =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {size}\r\n\r\n")
            .into_bytes();
    bytes.resize(bytes.len() + size, b'x');
    bytes
}
