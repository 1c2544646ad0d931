//! Who a proxy has proven to be, and how that is found out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tonic::Status;
use tonic::metadata::MetadataMap;

use crate::{Error, Node};

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Who a proxy has proven to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its service account.
    pub account: Account,
    /// The pod that the proof belongs to, if it belongs to one.
    pub pod: Option<String>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproven {
    /// The proof is wrong.
    Refused(String),
    /// Nobody can tell now; the proxy tries again.
    Unavailable(String),
}

/// What became of a proof.
pub type Proving = Pin<Box<dyn Future<Output = Result<Identity, Unproven>> + Send>>;

/// Finds out whom a token stands for.
pub type Authenticate = Arc<dyn Fn(String) -> Proving + Send + Sync>;

// === impl Account ===

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

// === impl Identity ===

impl Identity {
    /// Answers whether a proxy is who it says: in the namespace, of the service account and the
    /// pod that it has proven.
    pub(super) fn admits(&self, node: &Node) -> Result<(), Error> {
        let fail = |why: String| {
            Err(Error::Identity {
                id: node.id.to_string(),
                why,
            })
        };
        let Account { namespace, name } = &self.account;
        if node.id.namespace != *namespace {
            return fail(format!(
                "the token is of namespace {namespace}, the node of {}",
                node.id.namespace
            ));
        }
        if let Some(pod) = &self.pod
            && node.id.name != *pod
        {
            return fail(format!(
                "the token belongs to pod {pod}, the node is {}",
                node.id.name
            ));
        }
        if !node.service_account.is_empty() && node.service_account != *name {
            return fail(format!(
                "the token is of service account {name}, the node of {}",
                node.service_account
            ));
        }
        Ok(())
    }
}

// === impl Unproven ===

impl From<Unproven> for Status {
    fn from(unproven: Unproven) -> Self {
        match unproven {
            Unproven::Refused(why) => Self::unauthenticated(why),
            Unproven::Unavailable(why) => Self::unavailable(why),
        }
    }
}

/// The token of a request.
pub(super) fn token(metadata: &MetadataMap) -> Result<String, Unproven> {
    let refuse = |why: &str| {
        let hint = "send the service account's token as `authorization: Bearer …`";
        Unproven::Refused(format!("{why}; {hint}"))
    };
    let Some(value) = metadata.get("authorization") else {
        return Err(refuse("the request has no token"));
    };
    let text = value
        .to_str()
        .map_err(|_| refuse("`authorization` is not text"))?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Ok(token.trim().to_owned())
        }
        _ => Err(refuse("`authorization` has no bearer token")),
    }
}

#[cfg(test)]
mod tests {
    use lateen_model::proxy::Role;

    use super::*;
    use crate::NodeId;

    fn node() -> Node {
        Node::new(NodeId {
            role: Role::Gateway,
            address: "10.0.0.1".parse().expect("an address"),
            name: "gateway-1".into(),
            namespace: "edge".into(),
            domain: "edge.svc.cluster.local".into(),
        })
    }

    fn identity(namespace: &str, account: &str, pod: Option<&str>) -> Identity {
        Identity {
            account: Account {
                namespace: namespace.into(),
                name: account.into(),
            },
            pod: pod.map(str::to_owned),
        }
    }

    #[test]
    fn a_proxy_is_who_its_token_says_in_namespace_pod_and_account() {
        let mut node = node();
        assert!(identity("edge", "a", None).admits(&node).is_ok());
        assert!(
            identity("edge", "a", Some("gateway-1"))
                .admits(&node)
                .is_ok()
        );
        let error = identity("other", "a", None).admits(&node);
        assert!(error.is_err_and(|error| error.to_string().contains("namespace other")));
        let error = identity("edge", "a", Some("gateway-2")).admits(&node);
        assert!(error.is_err_and(|error| error.to_string().contains("pod gateway-2")));
        node.service_account = "b".into();
        let error = identity("edge", "a", None).admits(&node);
        assert!(error.is_err_and(|error| error.to_string().contains("service account a")));
    }

    #[test]
    fn a_token_is_a_bearer_token_or_none() {
        let mut metadata = MetadataMap::new();
        assert!(matches!(token(&metadata), Err(Unproven::Refused(_))));
        metadata.insert("authorization", "bearer x.y.z".parse().expect("a value"));
        assert_eq!(token(&metadata), Ok("x.y.z".into()));
        metadata.insert("authorization", "Basic abc".parse().expect("a value"));
        assert!(token(&metadata).is_err());
    }
}
