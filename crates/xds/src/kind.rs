//! The four types of resources that the protocol carries, and why there are four.
//!
//! Delta responses are ordered only within one type. All configuration is therefore one type (a
//! VirtualService never arrives before the subset it names); endpoints change far more often than
//! rules and carry none; workloads are asked for by address, one by one. Secrets are asked for by
//! name, and what must not travel in the clear or be kept on disk is easily told by its type.

/// A type of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// All configuration: [`lateen_model::Resource`].
    Config,
    /// Endpoints by service: [`lateen_model::endpoint::Endpoints`].
    Endpoints,
    /// Workloads by address, on demand: [`lateen_model::workload::Workload`].
    Workload,
    /// Credentials by `namespace/name`, on demand: [`lateen_model::secret::Secret`].
    Secret,
}

impl Kind {
    /// Every type, in the order in which a server sends them.
    pub const ALL: [Self; 4] = [Self::Config, Self::Endpoints, Self::Workload, Self::Secret];

    /// The type URL on the wire.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Config => "type.lateen.dev/lateen.config.v1.Resource",
            Self::Endpoints => "type.lateen.dev/lateen.config.v1.Endpoints",
            Self::Workload => "type.lateen.dev/lateen.config.v1.Workload",
            Self::Secret => "type.lateen.dev/lateen.config.v1.Secret",
        }
    }

    /// The short name in logs and debug pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Endpoints => "endpoints",
            Self::Workload => "workload",
            Self::Secret => "secret",
        }
    }

    /// Reads a type URL.
    pub fn from_type_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == url)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
