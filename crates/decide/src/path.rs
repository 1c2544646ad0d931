//! The path of a request in canonical form.
//!
//! What is decided on must be what is forwarded: a rule for `/admin` that a client can walk
//! around by `/x/../admin` is no rule. So the path is brought into one form first, the form that
//! Istio's proxies use by default (`normalize_path`).

/// Brings the path of a request into the form that is decided on *and* forwarded. Answers `false`
/// and leaves `into` alone if `path` already has that form, so that the usual request is not
/// copied; else `into` holds it, and must be what is forwarded.
///
/// RFC 3986: dot segments are removed (clamped at the root), percent-encoded unreserved characters
/// are decoded; a backslash becomes a slash, since servers take it for one. `%2F`, `%5C`, repeated
/// slashes and the query are kept as they are. What is not an absolute path (`*`) is kept too.
pub fn normalize_path(path: &[u8], into: &mut Vec<u8>) -> bool {
    if !matches!(path.first(), Some(b'/' | b'\\')) {
        return false;
    }
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let (path_only, rest) = path.split_at(end.unwrap_or(path.len()));
    if !may_need_work(path_only) {
        return false;
    }
    into.clear();
    into.push(b'/');
    let mut at = 1;
    while let Some(&byte) = path_only.get(at) {
        at += 1;
        match byte {
            b'/' | b'\\' => end_segment(into, true),
            b'%' => match escaped(&path_only[at..]) {
                Some(byte) if is_unreserved(byte) && !completes_escape(into) => {
                    at += 2;
                    into.push(byte);
                }
                _ => into.push(b'%'),
            },
            other => into.push(other),
        }
    }
    end_segment(into, false);
    if into == path_only {
        return false;
    }
    into.extend_from_slice(rest);
    true
}

/// Answers whether a path has anything in it that is not kept as it is.
fn may_need_work(path: &[u8]) -> bool {
    path.iter().any(|byte| matches!(byte, b'%' | b'\\'))
        || path.windows(2).any(|pair| pair == b"/.")
}

/// The byte that two hexadecimal digits after `%` stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Answers whether a byte written next would belong to a `%` that is not a whole escape yet: to
/// decode it would make a new escape (`%2%65` must not become `%2e`).
fn completes_escape(written: &[u8]) -> bool {
    written.iter().rev().take(2).any(|byte| *byte == b'%')
}

/// Ends the last segment of `path`, which begins with a slash: dot segments go, and unless the
/// path ends here, the next segment begins.
fn end_segment(path: &mut Vec<u8>, has_next: bool) {
    let start = after_last_slash(path);
    match &path[start..] {
        b"." => path.truncate(start),
        b".." => {
            path.truncate((start - 1).max(1));
            let parent = after_last_slash(path);
            path.truncate(parent);
        }
        _ if has_next => path.push(b'/'),
        _ => {}
    }
}

fn after_last_slash(path: &[u8]) -> usize {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    slash.map_or(1, |slash| slash + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let mut into = Vec::new();
        let changed = normalize_path(path.as_bytes(), &mut into);
        assert_eq!(changed, path != expected, "{path}");
        if changed {
            assert_eq!(String::from_utf8_lossy(&into), expected, "{path}");
            let mut again = Vec::new();
            assert!(!normalize_path(&into, &mut again), "{path} settles");
        }
    }

    #[test]
    fn dot_segments_are_removed_and_clamped_at_the_root() {
        check("/a/b/../c", "/a/c");
        check("/a/./b", "/a/b");
        check("/a/b/..", "/a/");
        check("/a/.", "/a/");
        check("/..", "/");
        check("/../../etc/passwd", "/etc/passwd");
        check("/a/../../b", "/b");
        check("/a//../b", "/a/b");
        check("//..", "/");
        check("/a/.../b", "/a/.../b");
        check("/.hidden/..x", "/.hidden/..x");
    }

    #[test]
    fn unreserved_characters_are_decoded_and_no_others() {
        check("/%61dmin", "/admin");
        check("/a/%2e%2E/b", "/b");
        check("/a%2Fb%5Cc%20", "/a%2Fb%5Cc%20");
        check("/%7Euser", "/~user");
        check("/100%", "/100%");
        check("/%zz%4", "/%zz%4");
    }

    #[test]
    fn decoding_never_makes_a_new_escape() {
        check("/a/%2%65%2%65/b", "/a/%2%65%2%65/b");
        check("/%%32e", "/%%32e");
        check("/%252e", "/%252e");
    }

    #[test]
    fn a_backslash_is_a_slash_and_the_query_is_left_alone() {
        check("/a\\..\\b", "/b");
        check("\\da", "/da");
        check("/a/../b?x=/../y%61", "/b?x=/../y%61");
        check("/a?x=/..", "/a?x=/..");
        check("/a?x=%61\\", "/a?x=%61\\");
        check("*", "*");
        check("", "");
    }

    proptest::proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(path in "/[a/.%\\\\2eEfF?]{0,24}") {
            let mut once = Vec::new();
            if normalize_path(path.as_bytes(), &mut once) {
                let mut twice = Vec::new();
                proptest::prop_assert!(!normalize_path(&once, &mut twice), "{once:?} {twice:?}");
                let end = once.iter().position(|b| *b == b'?').unwrap_or(once.len());
                proptest::prop_assert!(!once[..end].windows(4).any(|w| w == b"/../"));
            }
        }
    }
}
