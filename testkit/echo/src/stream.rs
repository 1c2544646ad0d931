//! TCP: each line comes back behind the server's name.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};

/// Echoes lines until the client ends; `greets` first if the protocol is one where servers do.
pub(crate) async fn echo(
    stream: impl AsyncRead + AsyncWrite,
    name: &str,
    greets: bool,
) -> std::io::Result<()> {
    let (read, mut write) = tokio::io::split(stream);
    if greets {
        write
            .write_all(format!("220 {name} ready\n").as_bytes())
            .await?;
    }
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        write
            .write_all(format!("{name} {line}\n").as_bytes())
            .await?;
    }
    write.shutdown().await
}
