//! Texts of rules that become part of messages.
//!
//! A line break in a value would end a header and begin another one, and a space in a path would
//! end the target: what is written here is sent to applications, so it is refused.

use lateen_model::http::{
    CorsPolicy, HeaderChanges, HeaderRules, HttpAction, HttpRule, Redirect, RedirectPath, Rewrite,
    UriRewrite,
};

/// Checks every text of a rule.
///
/// # Errors
/// The field within the rule, and what is wrong with it.
pub(super) fn check(rule: &HttpRule) -> Result<(), (String, String)> {
    if let Some(rewrite) = &rule.rewrite {
        check_rewrite(rewrite)?;
    }
    if let Some(cors) = &rule.cors {
        check_cors(cors)?;
    }
    check_headers("", &rule.headers)?;
    match &rule.action {
        HttpAction::Route(route) => {
            for (at, one) in route.iter().enumerate() {
                check_headers(&format!("route[{at}]."), &one.headers)?;
            }
            Ok(())
        }
        HttpAction::Redirect(redirect) => check_redirect(redirect),
        HttpAction::DirectResponse(_) | HttpAction::Delegate { .. } => Ok(()),
    }
}

fn check_rewrite(rewrite: &Rewrite) -> Result<(), (String, String)> {
    match &rewrite.uri {
        None => {}
        Some(UriRewrite::Prefix(text)) => part_of_url("rewrite.uri", text)?,
        Some(UriRewrite::Regex { replacement, .. }) => {
            part_of_url("rewrite.uriRegexRewrite.rewrite", replacement)?;
        }
    }
    let authority = rewrite.authority.as_deref().unwrap_or_default();
    part_of_url("rewrite.authority", authority)
}

fn check_redirect(redirect: &Redirect) -> Result<(), (String, String)> {
    match &redirect.path {
        RedirectPath::Keep => {}
        RedirectPath::Replace(text) => part_of_url("redirect.uri", text)?,
        RedirectPath::ReplacePrefix(text) => part_of_url("redirect.prefixRewrite", text)?,
    }
    let authority = redirect.authority.as_deref().unwrap_or_default();
    part_of_url("redirect.authority", authority)?;
    let scheme = redirect.scheme.as_deref().unwrap_or_default();
    part_of_url("redirect.scheme", scheme)
}

fn check_cors(cors: &CorsPolicy) -> Result<(), (String, String)> {
    let lists = [
        ("allowMethods", &cors.allow_methods),
        ("allowHeaders", &cors.allow_headers),
        ("exposeHeaders", &cors.expose_headers),
    ];
    for (field, list) in lists {
        for (at, text) in list.iter().enumerate() {
            value(|| format!("corsPolicy.{field}[{at}]"), text)?;
        }
    }
    Ok(())
}

fn check_headers(prefix: &str, rules: &HeaderRules) -> Result<(), (String, String)> {
    for (side, changes) in [("request", &rules.request), ("response", &rules.response)] {
        let HeaderChanges { set, add, remove } = changes;
        for (field, pairs) in [("set", set), ("add", add)] {
            for (name, text) in pairs {
                let place = || format!("{prefix}headers.{side}.{field}[{name}]");
                header_name(place, name, side == "request")?;
                value(place, text)?;
            }
        }
        for name in remove {
            header_name(|| format!("{prefix}headers.{side}.remove"), name, false)?;
        }
    }
    Ok(())
}

fn part_of_url(field: &str, text: &str) -> Result<(), (String, String)> {
    let is_bad = |byte: u8| byte <= b' ' || byte == 0x7f;
    if text.bytes().any(is_bad) {
        let problem = format!("{text:?} has a space or a control character; write it as %XX");
        return Err((field.to_owned(), problem));
    }
    Ok(())
}

fn value(field: impl Fn() -> String, text: &str) -> Result<(), (String, String)> {
    let is_bad = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
    if text.bytes().any(is_bad) {
        let problem = format!("{text:?} has a control character, which no header can have");
        return Err((field(), problem));
    }
    Ok(())
}

/// A token (RFC 9110, section 5.6.2), or what stands for the host.
fn header_name(
    field: impl Fn() -> String,
    name: &str,
    may_be_host: bool,
) -> Result<(), (String, String)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if (may_be_host && name == ":authority") || (!name.is_empty() && name.bytes().all(is_token)) {
        return Ok(());
    }
    let problem = format!("{name:?} is not the name of a header that can be changed here");
    Err((field(), problem))
}
