//! Ratings of a book, in memory.

use std::collections::BTreeMap;

use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tokio::sync::Mutex;

use crate::server::{Reply, json, not_found};

/// More than any rating has.
const BODY_LIMIT: usize = 16 << 10;
/// Books whose ratings were changed; enough for a sample.
const BOOK_LIMIT: usize = 10_000;

type Stars = BTreeMap<String, u8>;

/// The ratings that were posted; every other book has the default ones.
#[derive(Default)]
pub(crate) struct Ratings {
    posted: Mutex<BTreeMap<i64, Stars>>,
}

impl Ratings {
    /// Answers `GET` and `POST /ratings/<id>` and `/health`.
    pub(crate) async fn handle(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path().to_owned();
        if path == "/health" {
            return json(StatusCode::OK, &json!({ "status": "Ratings is healthy" }));
        }
        let Some(id) = path.strip_prefix("/ratings/") else {
            return not_found(&path);
        };
        let Ok(id) = id.parse::<i64>() else {
            return bad_request("please provide numeric product ID");
        };
        if request.method() == Method::POST {
            let body = Limited::new(request.into_body(), BODY_LIMIT)
                .collect()
                .await;
            let Ok(body) = body.map(http_body_util::Collected::to_bytes) else {
                return bad_request("the body is too large");
            };
            return self.post(id, &body).await;
        }
        let stars = self
            .posted
            .lock()
            .await
            .get(&id)
            .cloned()
            .unwrap_or_else(default_stars);
        json(StatusCode::OK, &json!({ "id": id, "ratings": stars }))
    }

    async fn post(&self, id: i64, body: &[u8]) -> Reply {
        let Ok(stars) = serde_json::from_slice::<Stars>(body) else {
            return bad_request("please provide valid ratings JSON");
        };
        let mut posted = self.posted.lock().await;
        if posted.len() >= BOOK_LIMIT && !posted.contains_key(&id) {
            return json(
                StatusCode::INSUFFICIENT_STORAGE,
                &json!({ "error": "too many books" }),
            );
        }
        posted.insert(id, stars.clone());
        json(StatusCode::OK, &json!({ "id": id, "ratings": stars }))
    }
}

fn default_stars() -> Stars {
    BTreeMap::from([("Reviewer1".into(), 5), ("Reviewer2".into(), 4)])
}

fn bad_request(message: &str) -> Reply {
    json(StatusCode::BAD_REQUEST, &json!({ "error": message }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn posted_ratings_replace_the_default_ones_of_that_book_only() {
        let ratings = Ratings::default();
        assert_eq!(
            ratings.post(7, br#"{"Reviewer1":1}"#).await.status(),
            StatusCode::OK
        );
        assert_eq!(
            ratings.post(8, b"nonsense").await.status(),
            StatusCode::BAD_REQUEST
        );
        let posted = ratings.posted.lock().await;
        assert_eq!(
            posted.get(&7),
            Some(&BTreeMap::from([("Reviewer1".to_owned(), 1)]))
        );
        assert_eq!(posted.get(&8), None);
    }
}
