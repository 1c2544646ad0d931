//! The life of a local cluster: namespaces, supervisor, what is left behind (nothing).
