//! Cluster DNS: services and pods by name, everything else through the publisher.
