//! Who is calling: client certificates, bearer tokens, and the keys that both are issued with.
//!
//! It answers who somebody is and never what they may do: every authenticated user may do
//! everything. What the objects of RBAC say is told to those who ask about others ([`super::rbac`]),
//! and not enforced here.

pub(crate) mod authority;
pub(crate) mod token;

pub use authority::ClientCertificate;

use http::HeaderMap;

use super::status::Failure;

/// An authenticated user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name, such as `system:serviceaccount:default:reviews`.
    pub name: String,
    /// The groups, such as `system:masters`.
    pub groups: Vec<String>,
    /// The identifier of the account behind the name; empty if it has none.
    pub uid: String,
    /// Further attributes, such as the pod that a token is bound to.
    pub extra: Vec<(String, String)>,
}

// === impl User ===

impl User {
    /// A user of this name in these groups (and in `system:authenticated`).
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        let everybody = "system:authenticated";
        if !groups.iter().any(|group| group == everybody) {
            groups.push(everybody.to_owned());
        }
        Self {
            name: name.to_owned(),
            groups,
            uid: String::new(),
            extra: Vec::new(),
        }
    }

    /// The person at the keyboard.
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &["system:masters"])
    }

    /// The controllers.
    pub fn controllers() -> Self {
        Self::new("system:kube-controller-manager", &["system:masters"])
    }

    /// The node of this name.
    pub fn node(name: &str) -> Self {
        Self::new(&format!("system:node:{name}"), &["system:nodes"])
    }

    /// The user as `authentication.k8s.io` writes it.
    pub(crate) fn to_value(&self) -> serde_json::Value {
        let mut value = serde_json::json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            value["uid"] = self.uid.as_str().into();
        }
        for (key, text) in &self.extra {
            value["extra"][key] = serde_json::json!([text]);
        }
        value
    }
}

/// The user that an administrator wants to be taken for (`kubectl --as`).
pub(crate) fn impersonated(headers: &HeaderMap, user: User) -> Result<User, Failure> {
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    let Some(name) = headers.get("impersonate-user").and_then(text) else {
        return Ok(user);
    };
    if !user.groups.iter().any(|group| group == "system:masters") {
        let why = format!("User {:?} cannot impersonate resource \"users\"", user.name);
        return Err(Failure::forbidden("", "users", &name, &why));
    }
    let groups = headers.get_all("impersonate-group").iter();
    let groups: Vec<String> = groups.filter_map(text).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    Ok(User::new(&name, &groups))
}
