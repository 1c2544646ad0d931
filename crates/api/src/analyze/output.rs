//! How messages are written, and which are left out: the formats are istioctl's.

use std::fmt;

use serde_json::{Value, json};

use super::{Level, Message, Options};

/// A rule that leaves messages out: `IST0102=Namespace frod`, `IST01*=* *.default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    code: String,
    object: String,
}

// === impl Suppression ===

impl Suppression {
    /// Reads `code=Kind name.namespace`; `*` stands for anything.
    ///
    /// # Errors
    /// Says how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((code, object)) if !code.is_empty() && object.contains(' ') => Ok(Self {
                code: code.to_owned(),
                object: object.to_owned(),
            }),
            _ => Err(format!(
                "{text:?} is not a suppression; write CODE=KIND NAME.NAMESPACE, as in \
                 \"IST0102=Namespace default\" or \"IST0101=VirtualService reviews.default\"; `*` \
                 stands for anything"
            )),
        }
    }

    /// Answers whether a message is left out.
    pub fn covers(&self, message: &Message) -> bool {
        let object = &message.object;
        let name = if object.namespace.is_empty() {
            format!("{} {}", object.kind, object.name)
        } else {
            format!("{} {}.{}", object.kind, object.name, object.namespace)
        };
        glob(&self.code, message.code.id) && glob(&self.object, &name)
    }
}

/// Matches text against a pattern in which `*` stands for anything.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(head) else {
        return false;
    };
    // A last part is an end, others are looked for from the left.
    let parts: Vec<&str> = rest.split('*').collect();
    let Some((last, inner)) = parts.split_last() else {
        return true;
    };
    let mut text = text;
    for part in inner {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

// === impl Message ===

impl Message {
    /// The object as istioctl writes it: `VirtualService default/reviews`.
    pub fn origin(&self) -> String {
        let object = &self.object;
        if object.namespace.is_empty() {
            format!("{} {}", object.kind, object.name)
        } else {
            format!("{} {}/{}", object.kind, object.namespace, object.name)
        }
    }

    /// The page that explains the code.
    pub fn documentation_url(&self) -> String {
        let id = self.code.id.to_ascii_lowercase();
        format!("https://istio.io/latest/docs/reference/config/analysis/{id}/")
    }
}

impl fmt::Display for Message {
    /// Writes `Error [IST0101] (VirtualService default/reviews a.yaml:3) text`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.reference.is_empty() { "" } else { " " };
        write!(
            f,
            "{} [{}] ({}{space}{}) {}",
            self.level,
            self.code.id,
            self.origin(),
            self.reference,
            self.text
        )
    }
}

/// The messages of at least `threshold` as lines.
pub fn log(messages: &[Message], threshold: Level) -> String {
    let shown = messages.iter().filter(|message| message.level >= threshold);
    shown.fold(String::new(), |log, message| {
        log + &message.to_string() + "\n"
    })
}

/// What is said where there is nothing to say, as istioctl does; of files only, without a
/// namespace.
pub fn all_well(options: &Options, is_cluster: bool) -> String {
    if !is_cluster {
        "✔ No validation issues found.".to_owned()
    } else if options.all_namespaces {
        "✔ No validation issues found when analyzing all namespaces.".to_owned()
    } else {
        let namespace = &options.namespace;
        format!("✔ No validation issues found when analyzing namespace: {namespace}.")
    }
}

/// The messages of at least `threshold` as JSON, with istioctl's keys.
pub fn json(messages: &[Message], threshold: Level) -> Value {
    let shown = messages.iter().filter(|message| message.level >= threshold);
    shown
        .map(|message| {
            let mut value = json!({
                "code": message.code.id,
                "documentationUrl": message.documentation_url(),
                "level": message.level.to_string(),
                "message": message.text,
                "origin": message.origin(),
            });
            if !message.reference.is_empty() {
                value["reference"] = json!(message.reference);
            }
            value
        })
        .collect()
}
