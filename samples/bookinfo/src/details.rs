//! Facts about a book.

use http::{Request, StatusCode};
use serde_json::json;

use crate::server::{Reply, json, not_found};

/// Answers `/details/<id>` and `/health`.
pub(crate) fn handle<B>(request: &Request<B>) -> Reply {
    let path = request.uri().path();
    if path == "/health" {
        return json(StatusCode::OK, &json!({ "status": "Details is healthy" }));
    }
    let Some(id) = path.strip_prefix("/details/") else {
        return not_found(path);
    };
    let Ok(id) = id.parse::<i64>() else {
        return json(
            StatusCode::BAD_REQUEST,
            &json!({ "error": "please provide numeric product id" }),
        );
    };
    json(
        StatusCode::OK,
        &json!({
            "id": id,
            "author": "William Shakespeare",
            "year": 1595,
            "type": "paperback",
            "pages": 200,
            "publisher": "PublisherA",
            "language": "English",
            "ISBN-10": "1234567890",
            "ISBN-13": "123-1234567890"
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_no_number_is_a_bad_request() {
        let ask = |path: &str| handle(&Request::get(path).body(()).unwrap()).status();
        assert_eq!(ask("/details/0"), StatusCode::OK);
        assert_eq!(ask("/details/x"), StatusCode::BAD_REQUEST);
        assert_eq!(ask("/other"), StatusCode::NOT_FOUND);
    }
}
