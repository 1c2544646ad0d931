//! Chores of the repository that a shell script would do badly: `cargo xtask check`.

mod boundaries;
mod fields;
mod size;

use std::path::PathBuf;

use anyhow::bail;

fn main() -> anyhow::Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let command = std::env::args().nth(1).unwrap_or_default();
    let problems = match command.as_str() {
        "check" => [
            boundaries::check(&root)?,
            size::check(&root)?,
            fields::check(&root)?,
        ]
        .concat(),
        "boundaries" => boundaries::check(&root)?,
        "fields" => fields::write(&root)?,
        "lint-size" => size::check(&root)?,
        _ => bail!("usage: xtask check | boundaries | fields | lint-size"),
    };
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} problem(s)", problems.len());
    }
    Ok(())
}
