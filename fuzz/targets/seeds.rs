//! Writes the inputs with which the targets start: `seeds DIRECTORY`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        return Err(std::io::Error::other("usage: seeds DIRECTORY"));
    };
    for (target, seeds) in lateen_fuzz::seeds() {
        let directory = Path::new(&directory).join(target);
        std::fs::create_dir_all(&directory)?;
        for (index, seed) in seeds.iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{index}")), seed)?;
        }
    }
    Ok(())
}
