//! The forms of names, labels and ports.

/// At most 63 lower-case letters, digits and `-`, beginning and ending with a letter or digit.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// As [`is_dns_label`], beginning with a letter.
pub(super) fn is_dns_1035_label(text: &str) -> bool {
    is_dns_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// Labels with dots between, at most 253 characters.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            let inner =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !part.is_empty()
                && part.bytes().all(inner)
                && !part.starts_with('-')
                && !part.ends_with('-')
        })
}

/// A segment of a path: anything but `.`, `..`, `/` and `%`.
pub(super) fn is_path_segment(text: &str) -> bool {
    !text.is_empty() && !matches!(text, "." | "..") && !text.contains(['/', '%'])
}

/// A label's key, or an annotation's: `[prefix/]name`.
pub(super) fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_word(name) && !name.is_empty(),
        None => is_label_word(text) && !text.is_empty(),
    }
}

/// A label's value; may be empty.
pub(super) fn is_label_word(text: &str) -> bool {
    let ends = |one: Option<u8>| one.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.is_empty()
        || text.len() <= 63
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && ends(text.bytes().next())
            && ends(text.bytes().last())
}

/// A port's name: at most 15 lower-case letters, digits and `-`, with at least one letter.
pub(super) fn is_port_name(text: &str) -> bool {
    is_dns_label(text)
        && text.len() <= 15
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.contains("--")
}

pub(super) const DNS_LABEL: &str = "a lowercase RFC 1123 label must consist of lower case \
    alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. \
    'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

pub(super) const DNS_1035_LABEL: &str = "a DNS-1035 label must consist of lower case alphanumeric \
    characters or '-', start with an alphabetic character, and end with an alphanumeric character \
    (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

pub(super) const DNS_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
    alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
    (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

pub(super) const PATH_SEGMENT: &str = "may not be '.' or '..' and may not contain '/' or '%'";

pub(super) const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', \
    '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or \
    'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

pub(super) const LABEL_VALUE: &str = "a valid label must be an empty string or consist of \
    alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
    character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_forms_of_rfc_1123_and_1035() {
        assert!(is_dns_label("1a-b") && !is_dns_1035_label("1a-b"));
        assert!(!is_dns_label("A") && !is_dns_label("-a") && !is_dns_label(""));
        assert!(
            is_dns_subdomain("a.b-c.d") && !is_dns_subdomain("a..b") && !is_dns_subdomain("a.")
        );
        assert!(is_path_segment("system:node") && !is_path_segment("a/b"));
    }

    #[test]
    fn labels_are_qualified_names_and_words() {
        assert!(is_qualified_name("app.kubernetes.io/name") && is_qualified_name("App_1"));
        assert!(
            !is_qualified_name("/x") && !is_qualified_name("a/") && !is_qualified_name("a/b/c")
        );
        assert!(is_label_word("") && is_label_word("v1.2_x") && !is_label_word("-x"));
        assert!(is_port_name("http-web") && !is_port_name("80") && !is_port_name("a--b"));
    }
}
