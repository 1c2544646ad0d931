//! A probe over HTTP: one request, one answer; 200 to 399 is success.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::trust;

/// As much of an answer as is read, for the message of a failure.
const MAX_BODY: usize = 10 * 1024;

/// Asks once.
pub(super) async fn get(address: SocketAddr, action: &HTTPGetAction) -> Result<(), String> {
    let is_secure = action
        .scheme
        .as_deref()
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let scheme = if is_secure { "https" } else { "http" };
    let path = action.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let url = format!("{scheme}://{address}{slash}{path}");
    let failed = |error: &dyn std::fmt::Display| format!("Get {url:?}: {error}");
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| failed(&error))?;
    let request =
        request(address, &format!("{slash}{path}"), action).map_err(|error| failed(&error))?;
    let result = if is_secure {
        let name = action.host.as_deref().unwrap_or("localhost");
        let stream = trust::connect(stream, name)
            .await
            .map_err(|error| failed(&error))?;
        send(stream, request).await
    } else {
        send(stream, request).await
    };
    match result {
        Ok((status, _)) if (200..400).contains(&status) => Ok(()),
        Ok((status, body)) => Err(format!(
            "HTTP probe failed with statuscode: {status} {body}"
        )),
        Err(error) => Err(failed(&error)),
    }
}

fn request(
    address: SocketAddr,
    target: &str,
    action: &HTTPGetAction,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::get(target)
        .header(header::CONNECTION, "close")
        .body(Empty::new())?;
    let headers = request.headers_mut();
    for given in action.http_headers.iter().flatten() {
        let name: header::HeaderName = given.name.parse()?;
        headers.append(name, given.value.parse()?);
    }
    for (name, value) in [
        (header::HOST, address.to_string()),
        (header::USER_AGENT, "kube-probe/1.33".into()),
        (header::ACCEPT, "*/*".into()),
    ] {
        if !headers.contains_key(&name) {
            headers.insert(name, value.parse()?);
        }
    }
    Ok(request)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<(u16, String), Failure> {
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
    let ask = async {
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        // A success needs no reason, and its body may never end.
        if status < 400 {
            return Ok((status, String::new()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::pin!(ask, connection);
    // The connection may end with the answer already read.
    tokio::select! {
        biased;
        answer = &mut ask => answer,
        ended = connection => match ended {
            Ok(()) => ask.await,
            Err(error) => Err(error.into()),
        },
    }
}
