//! The front end: one page, a sign-in, and the API behind them.

use std::time::Duration;

use http::header::{COOKIE, HeaderName, HeaderValue, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::client::{CallError, Client, Service};
use crate::page;
use crate::server::{Reply, json, not_found, reply};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Istio's sample asks reviews twice; its users expect a delay of 7 s to show as an error of 6 s.
const REVIEWS_ATTEMPTS: usize = 2;
const FORM_LIMIT: usize = 16 << 10;
const HTML: &str = "text/html; charset=utf-8";
const END_USER: HeaderName = HeaderName::from_static("end-user");

/// The front end.
pub(crate) struct ProductPage {
    client: Client,
}

/// The one book that is sold here.
pub(crate) fn product() -> Value {
    json!({
        "id": 0,
        "title": "The Comedy of Errors",
        "descriptionHtml": "<a href=\"https://en.wikipedia.org/wiki/The_Comedy_of_Errors\">Wikipedia</a>: \
            one of Shakespeare's early plays, his shortest and one of his merriest. Two pairs of identical \
            twins, parted as infants, come to the same town on the same day without knowing of each other."
    })
}

impl ProductPage {
    /// A front end that calls the other services through `client`.
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Answers every path of the front end.
    pub(crate) async fn handle(&self, mut request: Request<Incoming>) -> Reply {
        let user = signed_in(request.headers());
        match user
            .as_deref()
            .and_then(|user| HeaderValue::from_str(user).ok())
        {
            Some(user) => request.headers_mut().insert(END_USER, user),
            // Only the sign-in decides who the user is, unless a caller of the API says so itself.
            None => None,
        };
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (_, "/" | "/index.html") => reply(StatusCode::OK, HTML, page::index()),
            (_, "/health") => reply(StatusCode::OK, HTML, "Product page is healthy"),
            (_, "/productpage") => Box::pin(self.page(user.as_deref(), request.headers())).await,
            (&Method::POST, "/login") => login(request).await,
            (_, "/login") => to_page(None),
            (_, "/logout") => to_page(Some(
                "session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax".into(),
            )),
            (_, "/static/bookinfo.css") => {
                reply(StatusCode::OK, "text/css; charset=utf-8", page::STYLE)
            }
            (_, "/static/favicon.svg" | "/favicon.ico") => {
                reply(StatusCode::OK, "image/svg+xml", page::ICON)
            }
            (_, api) => match api.strip_prefix("/api/v1/products") {
                Some(rest) => self.api(rest, request.headers()).await,
                None => not_found(&path),
            },
        }
    }

    async fn page(&self, user: Option<&str>, headers: &HeaderMap) -> Reply {
        let (details, reviews) =
            tokio::join!(self.details("0", headers), self.reviews("0", headers));
        let html = page::product(&product(), user, &details, &reviews);
        reply(StatusCode::OK, HTML, html)
    }

    async fn api(&self, rest: &str, headers: &HeaderMap) -> Reply {
        if rest.is_empty() || rest == "/" {
            return json(StatusCode::OK, &json!([product()]));
        }
        let mut parts = rest.trim_start_matches('/').splitn(2, '/');
        let id = parts.next().unwrap_or_default();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
            return not_found(rest);
        }
        let answer = match parts.next().unwrap_or_default() {
            "" => self.details(id, headers).await,
            "reviews" => self.reviews(id, headers).await,
            "ratings" => {
                let path = format!("/ratings/{id}");
                self.client
                    .get(Service::Ratings, &path, headers, TIMEOUT)
                    .await
            }
            _ => return not_found(rest),
        };
        match answer {
            Ok(value) => json(StatusCode::OK, &value),
            Err(error) => json(error.status, &json!({ "error": error.message })),
        }
    }

    async fn details(&self, id: &str, headers: &HeaderMap) -> Result<Value, CallError> {
        let path = format!("/details/{id}");
        let details = self
            .client
            .get(Service::Details, &path, headers, TIMEOUT)
            .await;
        logged("details", details)
    }

    async fn reviews(&self, id: &str, headers: &HeaderMap) -> Result<Value, CallError> {
        let path = format!("/reviews/{id}");
        let mut attempt = 1;
        loop {
            let reviews = self
                .client
                .get(Service::Reviews, &path, headers, TIMEOUT)
                .await;
            match logged("reviews", reviews) {
                Err(_) if attempt < REVIEWS_ATTEMPTS => attempt += 1,
                reviews => return reviews,
            }
        }
    }
}

fn logged(service: &str, answer: Result<Value, CallError>) -> Result<Value, CallError> {
    if let Err(error) = &answer {
        eprintln!("{service}: {}", error.message);
    }
    answer
}

/// The user of the session cookie. Anybody may sign in as anybody: this is a sample whose users
/// exist to be routed.
fn signed_in(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("session="))
        .map(decode)
        .filter(|user| !user.is_empty())
}

async fn login(request: Request<Incoming>) -> Reply {
    let Ok(body) = Limited::new(request.into_body(), FORM_LIMIT)
        .collect()
        .await
    else {
        return reply(StatusCode::PAYLOAD_TOO_LARGE, HTML, "the form is too large");
    };
    let body = body.to_bytes();
    let form = String::from_utf8_lossy(&body);
    let user = form
        .split('&')
        .find_map(|pair| pair.strip_prefix("username="))
        .map(decode);
    match user.as_deref().map(str::trim) {
        None | Some("") => to_page(None),
        Some(user) => to_page(Some(format!(
            "session={}; Path=/; HttpOnly; SameSite=Lax",
            encode(user)
        ))),
    }
}

/// Sends the browser back to the page, and sets a cookie on the way.
fn to_page(cookie: Option<String>) -> Reply {
    let mut response = http::Response::new(Full::default());
    *response.status_mut() = StatusCode::FOUND;
    response
        .headers_mut()
        .insert(LOCATION, HeaderValue::from_static("/productpage"));
    if let Some(cookie) = cookie.and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Decodes `application/x-www-form-urlencoded` text.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => match tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()) {
                Some(hex) if u8::from_str_radix(hex, 16).is_ok() => {
                    bytes.extend(u8::from_str_radix(hex, 16));
                    rest = &tail[2..];
                }
                _ => bytes.push(b'%'),
            },
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encodes text so that it is safe in a cookie.
fn encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("a String takes every write");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_the_form_and_the_cookie() {
        assert_eq!(decode("J%C3%B6rg+X%"), "Jörg X%");
        assert_eq!(decode(&encode("Jörg; X=1")), "Jörg; X=1");
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=b; session=jason"));
        assert_eq!(signed_in(&headers).as_deref(), Some("jason"));
    }
}
