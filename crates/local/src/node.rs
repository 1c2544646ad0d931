//! The node: runs pods as processes in namespaces of their own.
