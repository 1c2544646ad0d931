//! The floor: copies bytes between two sockets and looks at none of them.

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpStream};

/// Relays every connection to `upstream` until the process ends.
pub(crate) async fn serve(port: u16, upstream: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .context("relay")?;
    loop {
        let (mut client, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        tokio::task::spawn_local(async move {
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", upstream)).await else {
                return;
            };
            if server.set_nodelay(true).is_ok() {
                // The load generator counts what breaks.
                tokio::io::copy_bidirectional(&mut client, &mut server)
                    .await
                    .ok();
            }
        });
    }
}
