//! What stays outside of the namespaces: host ports, dialling out, DNS.
