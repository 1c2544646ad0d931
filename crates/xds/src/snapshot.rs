//! The last configuration on disk.
