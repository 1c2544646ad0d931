//! The page itself, as text: no template engine, every value from outside escaped.

use std::fmt::Write as _;

use serde_json::Value;

use crate::client::CallError;

/// The style sheet at `/static/bookinfo.css`.
pub(crate) const STYLE: &str = include_str!("../static/bookinfo.css");
/// The icon at `/static/favicon.svg`.
pub(crate) const ICON: &str = include_str!("../static/favicon.svg");

/// The page at `/`.
pub(crate) fn index() -> String {
    frame(
        "Bookinfo",
        None,
        "<section class=\"hero\"><p class=\"eyebrow\">Sample application</p>\
         <h1>Bookinfo</h1><p>Four small services that show what a mesh does with the traffic between \
         them.</p><p><a class=\"button\" href=\"/productpage\">Open the product page</a></p></section>",
    )
}

/// The page at `/productpage`.
pub(crate) fn product(
    product: &Value,
    user: Option<&str>,
    details: &Result<Value, CallError>,
    reviews: &Result<Value, CallError>,
) -> String {
    let title = escape(text(product, "title"));
    // The description is our own markup (see `productpage::product`), hence not escaped.
    let description = text(product, "descriptionHtml");
    let body = format!(
        "<section class=\"book\"><div class=\"cover\" aria-hidden=\"true\"><span>The<br>Comedy<br>of<br>\
         Errors</span></div><div class=\"about\"><p class=\"eyebrow\">Book of the day</p><h1>{title}</h1>\
         <p>{description}</p></div></section><div class=\"columns\">{}{}</div>",
        details_section(details),
        reviews_section(reviews)
    );
    frame(&title, user, &body)
}

fn details_section(details: &Result<Value, CallError>) -> String {
    let mut html = String::from("<section class=\"card\" id=\"details\"><h2>Book Details</h2>");
    match details {
        Ok(details) => {
            html.push_str("<dl>");
            let rows = [
                ("ISBN-10", "ISBN-10"),
                ("Publisher", "publisher"),
                ("Pages", "pages"),
                ("Type", "type"),
                ("Language", "language"),
                ("Author", "author"),
                ("Year", "year"),
            ];
            for (label, key) in rows {
                let value = match &details[key] {
                    Value::String(value) => escape(value),
                    Value::Null => continue,
                    other => escape(&other.to_string()),
                };
                push(&mut html, format_args!("<dt>{label}</dt><dd>{value}</dd>"));
            }
            html.push_str("</dl>");
        }
        Err(error) => push_error(
            &mut html,
            "Error fetching product details!",
            error,
            "Sorry, product details are currently unavailable for this book.",
        ),
    }
    html.push_str("</section>");
    html
}

fn reviews_section(reviews: &Result<Value, CallError>) -> String {
    let mut html = String::from("<section class=\"card\" id=\"reviews\"><h2>Book Reviews</h2>");
    match reviews {
        Ok(answer) => {
            for review in answer["reviews"].as_array().into_iter().flatten() {
                push(
                    &mut html,
                    format_args!(
                        "<blockquote><p>{}</p><footer><cite>{}</cite>{}</footer></blockquote>",
                        escape(text(review, "text")),
                        escape(text(review, "reviewer")),
                        stars(&review["rating"])
                    ),
                );
            }
            push(
                &mut html,
                format_args!(
                    "<p class=\"served\">Reviews served by <code>{}</code>{}</p>",
                    escape(text(answer, "podname")),
                    match text(answer, "clustername") {
                        "" | "null" => String::new(),
                        cluster => format!(" on cluster <code>{}</code>", escape(cluster)),
                    }
                ),
            );
        }
        Err(error) => push_error(
            &mut html,
            "Error fetching product reviews!",
            error,
            "Sorry, product reviews are currently unavailable for this book.",
        ),
    }
    html.push_str("</section>");
    html
}

fn stars(rating: &Value) -> String {
    if let Some(error) = rating["error"].as_str() {
        return format!(
            "<span class=\"stars unavailable\"><em>{}</em></span>",
            escape(error)
        );
    }
    let Some(count) = rating["stars"].as_i64() else {
        return String::new();
    };
    let count = usize::try_from(count.clamp(0, 5)).unwrap_or(0);
    // Only the two colours that the reviews service has become part of the markup.
    let color = if rating["color"] == "red" {
        "red"
    } else {
        "black"
    };
    let full = "<span class=\"glyphicon glyphicon-star\">★</span>".repeat(count);
    let empty = "<span class=\"glyphicon glyphicon-star-empty\">☆</span>".repeat(5 - count);
    format!(
        "<span class=\"stars {color}\" role=\"img\" aria-label=\"{count} of 5 {color} stars\"><font color=\"{color}\">{full}{empty}</font></span>"
    )
}

fn push_error(html: &mut String, title: &str, error: &CallError, sorry: &str) {
    push(
        html,
        format_args!(
            "<div class=\"error\" role=\"alert\"><strong>{title}</strong><p>{sorry}</p>\
         <p class=\"why\">status {}</p></div>",
            error.status.as_u16()
        ),
    );
}

fn frame(title: &str, user: Option<&str>, body: &str) -> String {
    let account = match user {
        Some(user) => format!(
            "<span class=\"user\">Signed in as <strong>{}</strong></span><a href=\"/logout\">Sign out</a>",
            escape(user)
        ),
        None => "<form method=\"post\" action=\"/login\"><label for=\"username\">User</label>\
                 <input id=\"username\" name=\"username\" placeholder=\"jason\" autocomplete=\"username\" \
                 maxlength=\"64\" required><input type=\"hidden\" name=\"passwd\" value=\"\">\
                 <button>Sign in</button></form>"
            .to_owned(),
    };
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"/static/favicon.svg\"><link rel=\"stylesheet\" \
         href=\"/static/bookinfo.css\"></head><body><header><a class=\"brand\" href=\"/productpage\">\
         Bookinfo <small>sample</small></a><nav>{account}</nav></header><main>{body}</main></body></html>\n"
    )
}

fn push(html: &mut String, arguments: std::fmt::Arguments<'_>) {
    html.write_fmt(arguments)
        .expect("a String takes every write");
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::*;

    fn page(user: Option<&str>, reviews: &Result<Value, CallError>) -> String {
        product(
            &crate::productpage::product(),
            user,
            &Ok(json!({ "author": "W" })),
            reviews,
        )
    }

    #[test]
    fn nothing_that_a_user_typed_becomes_markup() {
        let reviews =
            json!({ "podname": "<x>", "reviews": [{ "reviewer": "\"a\"", "text": "<script>" }] });
        let html = page(Some("<b>jason</b>"), &Ok(reviews));
        assert!(html.contains("&lt;b&gt;jason"));
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"));
    }

    #[test]
    fn stars_are_black_or_red_or_none() {
        let with = |rating: Value| page(None, &Ok(json!({ "reviews": [{ "rating": rating }] })));
        assert!(with(json!({ "stars": 4, "color": "black" })).contains("color=\"black\""));
        assert!(with(json!({ "stars": 4, "color": "red" })).contains("4 of 5 red stars"));
        assert!(!with(Value::Null).contains("glyphicon-star"));
    }

    #[test]
    fn an_error_of_reviews_is_shown_on_the_page() {
        let error = CallError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: String::new(),
        };
        let html = page(None, &Err(error));
        assert!(html.contains("product reviews are currently unavailable"));
        assert!(html.contains("Book Details"));
    }
}
