//! Chores of the repository that a shell script would do badly: `cargo xtask check`.

mod boundaries;
mod fields;
mod size;

use std::path::PathBuf;

use anyhow::bail;

fn main() -> anyhow::Result<()> {
    // Asked at run time: checkouts in several places may share what was built.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| "xtask".into());
    let root = PathBuf::from(package).join("..");
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
