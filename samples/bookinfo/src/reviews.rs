//! Reviews of a book, in three versions that differ by their stars.

use std::time::Duration;

use http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};

use crate::client::{Client, Service};
use crate::server::{Reply, json, not_found};

const REVIEWS: [(&str, &str); 2] = [
    (
        "Reviewer1",
        "Two pairs of twins, one town, and nobody ever asks the obvious question. A joy.",
    ),
    (
        "Reviewer2",
        "Great fun from the first mix-up to the last, though not as deep as the later plays.",
    ),
];

/// Which stars a version shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Version {
    /// No stars: does not call ratings.
    V1,
    /// Black stars.
    V2,
    /// Red stars.
    V3,
}

/// The reviews service.
pub(crate) struct Reviews {
    version: Version,
    client: Client,
    pod: String,
    cluster: String,
}

impl Reviews {
    /// A service of a version.
    pub(crate) fn new(version: Version, client: Client) -> Self {
        let pod = std::env::var("HOSTNAME").unwrap_or_else(|_| hostname());
        let cluster = std::env::var("CLUSTER_NAME").unwrap_or_else(|_| "null".into());
        Self {
            version,
            client,
            pod,
            cluster,
        }
    }

    /// Answers `/reviews/<id>` and `/health`.
    pub(crate) async fn handle<B>(&self, request: Request<B>) -> Reply {
        let path = request.uri().path();
        if path == "/health" {
            return json(StatusCode::OK, &json!({ "status": "Reviews is healthy" }));
        }
        let Some(id) = path.strip_prefix("/reviews/") else {
            return not_found(path);
        };
        let Ok(id) = id.parse::<i64>() else {
            return not_found(path);
        };
        json(StatusCode::OK, &self.reviews(id, request.headers()).await)
    }

    async fn reviews(&self, id: i64, headers: &HeaderMap) -> Value {
        let color = match self.version {
            Version::V1 => None,
            Version::V2 => Some("black"),
            Version::V3 => Some("red"),
        };
        let ratings = match color {
            None => None,
            Some(color) => {
                // As in Istio's sample: v2 is patient, v3 is not.
                let timeout = Duration::from_millis(if color == "black" { 10_000 } else { 2_500 });
                let path = format!("/ratings/{id}");
                Some((
                    color,
                    self.client
                        .get(Service::Ratings, &path, headers, timeout)
                        .await,
                ))
            }
        };
        let reviews: Vec<Value> = REVIEWS
            .iter()
            .map(|(reviewer, text)| {
                let mut review = json!({ "reviewer": reviewer, "text": text });
                match &ratings {
                    None => {}
                    Some((color, Ok(answer))) => {
                        let stars = answer["ratings"][reviewer].as_i64().unwrap_or(-1);
                        review["rating"] = json!({ "stars": stars, "color": color });
                    }
                    Some((_, Err(error))) => {
                        eprintln!("ratings: {}", error.message);
                        review["rating"] =
                            json!({ "error": "Ratings service is currently unavailable" });
                    }
                }
                review
            })
            .collect();
        json!({
            "id": id.to_string(),
            "podname": self.pod,
            "clustername": self.cluster,
            "reviews": reviews
        })
    }
}

/// The host's name where the environment does not tell.
fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "null".into(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn version_one_shows_no_stars_and_calls_nobody() {
        let reviews = Reviews::new(Version::V1, Client::from_env());
        let answer = reviews.reviews(0, &HeaderMap::new()).await;
        assert_eq!(answer["id"], "0");
        assert_eq!(answer["reviews"][0]["reviewer"], "Reviewer1");
        assert_eq!(answer["reviews"][0].get("rating"), None);
    }
}
