//! Capabilities: none, but those that the container asks for and the node grants.

use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

/// A set of capabilities.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capabilities(u64);

/// The names of Kubernetes, which are the kernel's without `CAP_`, in the kernel's order.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container may have: what acts on its own network namespace and its own processes.
///
/// The pod's namespaces belong to the cluster's user namespace, so that a container with
/// SYS_ADMIN could enter another's, and one with SYS_PTRACE read its memory.
const GRANTABLE: [&str; 9] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SYS_CHROOT",
];

// === impl Capabilities ===

impl Capabilities {
    /// The capabilities of these names, with or without `CAP_`; those that the node does not
    /// grant are left out. `ALL` is all that it grants.
    pub(crate) fn granted<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bits = 0;
        for name in names {
            let name = name.strip_prefix("CAP_").unwrap_or(name);
            for (index, known) in NAMES.iter().enumerate() {
                if (name == *known || name == "ALL") && GRANTABLE.contains(known) {
                    bits |= 1 << index;
                }
            }
        }
        Self(bits)
    }

    /// The same and these.
    pub(crate) fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// Makes it impossible for this process, and all that it becomes, to gain any other.
    ///
    /// # Errors
    /// If the process may not do that, which takes SETPCAP.
    pub(super) fn bound(self) -> rustix::io::Result<()> {
        for one in every().filter(|one| !self.set().contains(*one)) {
            match rustix::thread::remove_capability_from_bounding_set(one) {
                // An older kernel does not know the newest ones.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives up every other one, and keeps these through `exec`, whoever the process is.
    ///
    /// # Errors
    /// If the process lacks one that it should keep.
    pub(super) fn keep(self) -> rustix::io::Result<()> {
        let kept = self.set();
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: kept,
        };
        rustix::thread::set_capabilities(None, sets)?;
        rustix::thread::clear_ambient_capability_set()?;
        for one in every().filter(|one| kept.contains(*one)) {
            // Ambient ones survive `exec` of an ordinary program by an ordinary user.
            rustix::thread::configure_capability_in_ambient_set(one, true)?;
        }
        Ok(())
    }

    fn set(self) -> CapabilitySet {
        CapabilitySet::from_bits_retain(self.0)
    }
}

fn every() -> impl Iterator<Item = CapabilitySet> {
    (0..NAMES.len()).map(|index| CapabilitySet::from_bits_retain(1 << index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_kernels() {
        let net_admin = Capabilities::granted(["NET_ADMIN"]);
        assert_eq!(net_admin.0, CapabilitySet::NET_ADMIN.bits());
        assert_eq!(net_admin, Capabilities::granted(["CAP_NET_ADMIN"]));
        let last = CapabilitySet::CHECKPOINT_RESTORE.bits();
        assert_eq!(1_u64 << (NAMES.len() - 1), last);
    }

    #[test]
    fn what_reaches_other_pods_is_never_granted() {
        for name in [
            "SYS_ADMIN",
            "SYS_PTRACE",
            "SYS_MODULE",
            "DAC_READ_SEARCH",
            "NO_SUCH",
        ] {
            assert_eq!(
                Capabilities::granted([name]),
                Capabilities::default(),
                "{name}"
            );
        }
        let all = Capabilities::granted(["ALL"]);
        assert_eq!(all.0.count_ones() as usize, GRANTABLE.len());
    }
}
