//! The three types of resources that the protocol carries, and why there are three.
//!
//! Delta responses are ordered only within one type. All configuration is therefore one type (a
//! VirtualService never arrives before the subset it names); endpoints change far more often than
//! rules and carry none; workloads are asked for by address, one by one.

/// A type of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// All configuration: [`lateen_model::Resource`].
    Config,
    /// Endpoints by service: [`lateen_model::endpoint::Endpoints`].
    Endpoints,
    /// Workloads by address, on demand: [`lateen_model::workload::Workload`].
    Workload,
}

impl Kind {
    /// Every type, in the order in which a server sends them.
    pub const ALL: [Self; 3] = [Self::Config, Self::Endpoints, Self::Workload];

    /// The type URL on the wire.
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Config => "type.lateen.dev/lateen.config.v1.Resource",
            Self::Endpoints => "type.lateen.dev/lateen.config.v1.Endpoints",
            Self::Workload => "type.lateen.dev/lateen.config.v1.Workload",
        }
    }

    /// The short name in logs and debug pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Endpoints => "endpoints",
            Self::Workload => "workload",
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
