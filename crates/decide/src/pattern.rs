//! Regular expressions as users of Istio write them: RE2's syntax, matched against the whole
//! text, in linear time.
//!
//! The engine is the `regex` crate. Its syntax differs from RE2's in a few places where the same
//! text would mean something else, without an error: Unicode classes for `\d`, `\w`, `\s`, set
//! operations and nested classes in brackets, `\<`. Those are rewritten here; what neither
//! understands stays an error.

use std::fmt::Write as _;

use regex::bytes::{Regex, RegexBuilder};

/// The longest expression in characters; longer ones are refused at admission too.
const MAX_CHARS: usize = 1024;

/// The largest compiled program in bytes: repetitions of repetitions end here.
const MAX_PROGRAM: usize = 1 << 20;

/// How much the automaton that an expression grows into while it matches may take, for each
/// thread that uses it: a client chooses the texts, and thus how much of it is built.
const MAX_AUTOMATON: usize = 256 << 10;

/// Compiles an expression that must match the whole text.
///
/// # Errors
/// Says what is wrong, as the end of a sentence that begins with the expression.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    check_length(pattern)?;
    let rewritten = rewrite(pattern)?;
    // Alone first: `a)(b` must not become valid by the parentheses that are put around it.
    build(&rewritten)?;
    build(&format!(r"\A(?:{rewritten})\z"))
}

/// Compiles an expression that is searched for anywhere in a text.
///
/// # Errors
/// As [`compile`].
pub(crate) fn compile_search(pattern: &str) -> Result<Regex, String> {
    check_length(pattern)?;
    build(&rewrite(pattern)?)
}

fn check_length(pattern: &str) -> Result<(), String> {
    if pattern.chars().count() > MAX_CHARS {
        return Err(format!(
            "is longer than {MAX_CHARS} characters; split it into several matches"
        ));
    }
    Ok(())
}

fn build(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_PROGRAM)
        .dfa_size_limit(MAX_AUTOMATON)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                "is too large when compiled; use fewer or smaller repetitions".to_owned()
            }
            // The parser's message draws the expression on several lines; the last says why.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                let reason = last.strip_prefix("error: ").unwrap_or(last);
                format!("is not valid RE2: {reason}")
            }
        })
}

/// Rewrites RE2's syntax into the engine's.
fn rewrite(pattern: &str) -> Result<String, String> {
    let mut rewriter = Rewriter {
        rest: pattern,
        out: String::with_capacity(pattern.len() + 16),
    };
    while let Some(next) = rewriter.take() {
        match next {
            '\\' => rewriter.escape(false)?,
            '[' => rewriter.class()?,
            '(' => rewriter.group()?,
            '{' => rewriter.repetition()?,
            other => rewriter.out.push(other),
        }
    }
    Ok(rewriter.out)
}

struct Rewriter<'p> {
    rest: &'p str,
    out: String,
}

impl Rewriter<'_> {
    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(next) = self.take() else {
            return Err("ends with a backslash".to_owned());
        };
        match next {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[0-9A-Za-z_]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            's' => self.out.push_str(r"[\t\n\f\r ]"),
            'S' => self.out.push_str(r"[^\t\n\f\r ]"),
            'b' if !in_class => self.out.push_str(r"(?-u:\b)"),
            'B' if !in_class => self.out.push_str(r"(?-u:\B)"),
            'C' if !in_class => self.out.push_str(r"(?s-u:.)"),
            'Q' if !in_class => self.quote(),
            '<' | '>' => self.out.push(next),
            '0' => self.octal(0),
            '1'..='7' if self.rest.starts_with(|c| matches!(c, '0'..='7')) => {
                self.octal(next as u32 - u32::from(b'0'));
            }
            other => {
                self.out.push('\\');
                self.out.push(other);
            }
        }
        Ok(())
    }

    /// The rest of an octal number: up to three digits in all.
    fn octal(&mut self, first: u32) {
        let mut value = first;
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                break;
            };
            value = value * 8 + digit;
            self.take();
        }
        let _ = write!(self.out, "\\x{{{value:x}}}");
    }

    /// Literal text up to `\E`.
    fn quote(&mut self) {
        let (text, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
        self.out.push_str(&regex::escape(text));
        self.rest = rest;
    }

    /// What follows `[`: inside, only ranges, escapes and POSIX classes mean something.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.take();
            self.out.push('^');
        }
        if self.rest.starts_with(']') {
            self.take();
            self.out.push_str(r"\]");
        }
        let mut after_dash = false;
        while let Some(next) = self.take() {
            let is_dash = next == '-';
            match next {
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '[' if self.rest.starts_with(':') => self.posix_class()?,
                '[' | '&' | '~' => {
                    self.out.push('\\');
                    self.out.push(next);
                }
                '-' if after_dash => self.out.push_str(r"\-"),
                other => self.out.push(other),
            }
            after_dash = is_dash;
        }
        Err("has a `[` without its `]`".to_owned())
    }

    fn posix_class(&mut self) -> Result<(), String> {
        let Some((name, rest)) = self.rest.split_once(":]") else {
            return Err("has a `[:` without its `:]`".to_owned());
        };
        let _ = write!(self.out, "[{name}:]");
        self.rest = rest;
        Ok(())
    }

    /// What follows `(`: flags that RE2 does not have would change the meaning of the rest.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        let Some(flags) = self.rest.strip_prefix('?') else {
            return Ok(());
        };
        if flags.starts_with("P<") || flags.starts_with('<') {
            return Ok(());
        }
        let unknown = flags
            .chars()
            .take_while(|c| !matches!(c, ':' | ')'))
            .find(|c| !matches!(c, 'i' | 'm' | 's' | 'U' | '-'));
        match unknown {
            Some(flag) => Err(format!("has the group `(?{flag}`, which RE2 does not know")),
            None => Ok(()),
        }
    }

    /// What follows `{`: a count, or else a literal brace.
    fn repetition(&mut self) -> Result<(), String> {
        let count = self.rest.split_once('}').map(|(count, _)| count);
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let bounds = count.map(|count| count.split_once(',').unwrap_or((count, count)));
        match bounds {
            Some((low, high)) if is_number(low) && (high.is_empty() || is_number(high)) => {
                let too_many = |text: &str| text.parse::<u32>().map_or(true, |n| n > 1000);
                if too_many(low) || (!high.is_empty() && too_many(high)) {
                    return Err("repeats something more than 1000 times".to_owned());
                }
                self.out.push('{');
            }
            _ => self.out.push_str(r"\{"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], other: &[&str]) {
        let regex = compile(pattern).expect(pattern);
        for text in matching {
            assert!(regex.is_match(text.as_bytes()), "{pattern} and {text:?}");
        }
        for text in other {
            assert!(!regex.is_match(text.as_bytes()), "{pattern} and {text:?}");
        }
    }

    #[test]
    fn the_whole_text_must_match() {
        check("a|b", &["a", "b"], &["ab", "xa", "b\n", ""]);
        check("/v[0-9]+", &["/v1", "/v12"], &["/v", "/v1/", "x/v1"]);
    }

    #[test]
    fn classes_are_ascii_as_in_re2() {
        check(r"\d+", &["12"], &["\u{663}"]);
        check(r"[\w-]+", &["a-b_1"], &["é"]);
        check(r"[^\d]", &["a"], &["1"]);
        check(r"a\b.*", &["a b"], &["ab"]);
    }

    #[test]
    fn brackets_hold_no_set_operations() {
        check("[a&&b]", &["a", "&", "b"], &["c"]);
        check("[[a]", &["[", "a"], &["]"]);
        check("[]a]", &["]", "a"], &["b"]);
        check("[[:alpha:]_]", &["x", "_"], &["1"]);
        check("[+--]", &["+", ",", "-"], &["."]);
    }

    #[test]
    fn literal_braces_quotes_and_octal_are_those_of_re2() {
        check("a{,2}", &["a{,2}"], &["aa"]);
        check("{id}", &["{id}"], &["id"]);
        check(r"\Qa.b\E.", &["a.bx"], &["aXbx"]);
        check(r"\101\x42", &["AB"], &[]);
        check(r"\<a\>", &["<a>"], &["a"]);
    }

    #[test]
    fn what_is_invalid_or_too_large_is_refused_with_a_reason() {
        let long = "a".repeat(1025);
        for (pattern, reason) in [
            ("a)(b", "not valid RE2"),
            ("(", "not valid RE2"),
            ("[a", "without its `]`"),
            ("(?x)a b", "RE2 does not know"),
            (r"(a)\1", "not valid RE2"),
            ("a{1001}", "more than 1000"),
            ("(((a{100}){100}){100})", "too large"),
            (long.as_str(), "longer than 1024"),
            ("a\\", "ends with a backslash"),
        ] {
            let problem = compile(pattern).expect_err(pattern);
            assert!(problem.contains(reason), "{pattern}: {problem}");
        }
    }
}
