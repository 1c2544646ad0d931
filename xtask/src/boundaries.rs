//! Who may know whom: the dependencies between crates that the architecture allows, and how many
//! direct dependencies the crates of the data path may have.

use std::path::Path;

use anyhow::Context as _;

/// A crate, the crates of this repository that it may depend on, and what it must never reach.
const RULES: [(&str, &[&str], &[&str]); 11] = [
    ("model", &[], &["tokio", "kube", "rustls"]),
    ("api", &["model"], &["tokio", "kube", "rustls"]),
    ("decide", &["model"], &["tokio", "kube", "rustls"]),
    ("xds", &["model"], &["kube"]),
    ("wire", &[], &["tokio", "kube"]),
    (
        "proxy",
        &["decide", "wire", "xds", "model", "capture"],
        &["kube", "k8s-openapi", "lateen-control", "lateen-api"],
    ),
    (
        "control",
        &["api", "xds", "model"],
        &["lateen-proxy", "lateen-wire"],
    ),
    (
        "why",
        &["api", "control", "decide", "model", "xds"],
        &["tokio", "kube", "lateen-proxy", "lateen-wire"],
    ),
    ("capture", &[], &["kube"]),
    (
        "local",
        &["api", "capture"],
        &["lateen-control", "lateen-proxy", "lateen-xds"],
    ),
    (
        "cli",
        &[
            "control", "local", "capture", "api", "decide", "model", "why",
        ],
        &["lateen-proxy", "lateen-wire"],
    ),
];

/// The most direct dependencies that a crate may have.
const LIMITS: [(&str, usize); 2] = [("proxy", 25), ("wire", 5)];

/// Compares every crate's manifest with the rules.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for (name, allowed, banned) in RULES {
        let direct = dependencies(root, name)?;
        let limit = LIMITS
            .iter()
            .find(|(limited, _)| *limited == name)
            .map(|(_, limit)| *limit);
        if limit.is_some_and(|limit| direct.len() > limit) {
            problems.push(format!(
                "crates/{name}: {} direct dependencies, over its limit",
                direct.len()
            ));
        }
        for dependency in &direct {
            if banned.contains(&dependency.as_str()) {
                problems.push(format!("crates/{name} must not know {dependency}"));
            }
            if let Some(ours) = dependency.strip_prefix("lateen-")
                && !allowed.contains(&ours)
            {
                problems.push(format!("crates/{name} may not depend on crates/{ours}"));
            }
        }
    }
    Ok(problems)
}

/// The names under `[dependencies]` of a crate's manifest.
fn dependencies(root: &Path, name: &str) -> anyhow::Result<Vec<String>> {
    let path = root.join("crates").join(name).join("Cargo.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let section = text
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    Ok(section
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect())
}
