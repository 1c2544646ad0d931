//! What a decision says, and the trace that tells why.

use std::fmt;
use std::sync::Arc;

use lateen_model::http::{DirectResponse, Redirect};
use lateen_model::{ObjectRef, Reason};

use crate::cluster::ClusterId;
use crate::route::Route;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'t> {
    /// It goes to this cluster. Traffic to destinations that no service names goes to
    /// [`ClusterId::PASSTHROUGH`] by the route `allow_any`.
    Forward {
        /// Where to; [`crate::Plan::cluster`] answers `None` for a cluster that does not exist,
        /// which is [`Reason::NoCluster`].
        cluster: ClusterId,
        /// The destination's place in the route's split, for [`crate::route::RoutePolicy::headers_of`].
        destination: usize,
        /// The route that matched.
        route: &'t Route,
    },
    /// It is sent elsewhere by its rule.
    Redirect {
        /// Where to.
        redirect: &'t Redirect,
        /// The route that matched.
        route: &'t Route,
    },
    /// Its rule answers it.
    Respond {
        /// With what.
        response: &'t DirectResponse,
        /// The route that matched.
        route: &'t Route,
    },
    /// It is answered 301 with the same URL under `https`.
    RedirectToHttps,
    /// It is answered by the proxy: [`Reason::NoRoute`], or [`Reason::BlackHole`] (the route
    /// `block_all`).
    Refuse(Reason),
}

/// Where a route comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The object: a VirtualService, or the Service itself where no rule is written.
    pub object: Arc<ObjectRef>,
    /// The index of the rule in the object's list.
    pub rule: u32,
    /// The index of the `match` block in the rule; 0 if it has none.
    pub block: u32,
}

// === impl Origin ===

impl Origin {
    /// The object as a whole.
    pub(crate) fn whole(object: &Arc<ObjectRef>) -> Self {
        Self::block(object, 0, 0)
    }

    /// A `match` block of a rule of the object.
    pub(crate) fn block(object: &Arc<ObjectRef>, rule: usize, block: usize) -> Self {
        Self {
            object: Arc::clone(object),
            rule: u32::try_from(rule).unwrap_or(u32::MAX),
            block: u32::try_from(block).unwrap_or(u32::MAX),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {} match {}", self.object, self.rule, self.block)
    }
}

/// Why a decision is what it is: every rule that was passed over, and its first condition that
/// did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace<'t> {
    /// The host that was looked up: canonical, without port.
    pub host: String,
    /// The virtual host that was chosen, by the pattern that matched; none if none did.
    pub virtual_host: Option<&'t str>,
    /// The rules of the virtual host that were passed over, in order.
    pub passed_over: Vec<PassedOver<'t>>,
    /// The decision itself.
    pub decision: Decision<'t>,
}

/// A rule that did not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver<'t> {
    /// The rule.
    pub route: &'t Route,
    /// The first condition that did not hold, such as
    /// `header "end-user" is exactly "jason", but was "alice"`.
    pub failed: String,
}
