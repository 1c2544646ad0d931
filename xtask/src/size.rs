//! Files that grew too large to read: 800 lines is the end, tests excluded.

use std::path::Path;

use anyhow::Context as _;

const LIMIT: usize = 800;

/// Finds source files over the limit.
pub(crate) fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for folder in ["crates", "samples", "xtask", "testkit", "bench", "fuzz"] {
        walk(&root.join(folder), &mut problems)?;
    }
    Ok(problems)
}

fn walk(folder: &Path, problems: &mut Vec<String>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if !matches!(name, "tests" | "target" | "corpus") {
                walk(&path, problems)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs"
        {
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let code = text
                .split("\n#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default();
            let lines = code.lines().count();
            if lines > LIMIT {
                problems.push(format!(
                    "{}: {lines} lines; split it at a seam that a reader would name",
                    path.display()
                ));
            }
        }
    }
    Ok(())
}
