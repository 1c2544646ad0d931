//! One container: a process in namespaces and on a root of its own.
//!
//! ```text
//! supervisor                                      the container's process
//! thread in the pod's net, uts and ipc namespaces
//!   and with a new PID namespace for children
//!   └─ spawns this program as `__container` ───►  reads its Spec, makes a mount namespace,
//!      sends the Spec                             builds the root, drops privileges, exec
//!      waits for an error or the closed channel ◄─
//! ```
//!
//! The process is PID 1 of its namespace, as in every container: when it ends, the kernel kills
//! whatever it has started. Nothing of this program stays between it and the supervisor.

pub(crate) mod capabilities;
pub(crate) mod exec;
pub(crate) mod launch;
pub(crate) mod process;
pub(crate) mod root;
pub(crate) mod spec;

mod init;
mod place;

pub(crate) use exec::main as exec_main;
pub(crate) use init::main as container_main;
