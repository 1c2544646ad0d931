//! Writes the files of a volume such that readers see the old ones or the new ones, all of them.
//!
//! ```text
//! volume/key          -> ..data/key
//! volume/..data       -> ..v3          swapped in one step
//! volume/..v3/key                      the content
//! ```

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::payload::Payload;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_new";
const VERSION: &str = "..v";

/// Makes the volume hold exactly these files; without effect if it does.
pub(super) fn write(volume: &Path, payload: &Payload) -> io::Result<()> {
    fs::create_dir_all(volume)?;
    let current = fs::read_link(volume.join(DATA)).ok();
    if let Some(current) = &current
        && is_same(&volume.join(current), payload)?
    {
        return Ok(());
    }
    let version = match &current {
        Some(current) => version_of(current) + 1,
        None => 1,
    };
    let name = PathBuf::from(format!("{VERSION}{version}"));
    write_files(&volume.join(&name), payload)?;
    let new = volume.join(NEW_DATA);
    remove(&new)?;
    symlink(&name, &new)?;
    fs::rename(&new, volume.join(DATA))?;
    link_names(volume, payload)?;
    if let Some(old) = current {
        fs::remove_dir_all(volume.join(old))?;
    }
    Ok(())
}

fn write_files(directory: &Path, payload: &Payload) -> io::Result<()> {
    fs::create_dir(directory)?;
    for (path, file) in &payload.files {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut out = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        out.write_all(&file.content)?;
        out.set_permissions(fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// Has the first part of each path lead to the current version, and nothing else.
fn link_names(volume: &Path, payload: &Payload) -> io::Result<()> {
    let names: BTreeSet<_> = payload
        .files
        .keys()
        .filter_map(|path| path.components().next())
        .collect();
    for name in &names {
        let link = volume.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), link)?;
        }
    }
    for entry in fs::read_dir(volume)? {
        let name = entry?.file_name();
        let is_ours = name.to_string_lossy().starts_with("..");
        let is_wanted = names.iter().any(|wanted| wanted.as_os_str() == name);
        if !is_ours && !is_wanted {
            remove(&volume.join(name))?;
        }
    }
    Ok(())
}

fn is_same(directory: &Path, payload: &Payload) -> io::Result<bool> {
    let mut count = 0;
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        for entry in fs::read_dir(next)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
                continue;
            }
            count += 1;
            let path = entry.path();
            let Some(file) = path
                .strip_prefix(directory)
                .ok()
                .and_then(|path| payload.files.get(path))
            else {
                return Ok(false);
            };
            let mode = entry.metadata()?.permissions().mode() & 0o777;
            if mode != file.mode || fs::read(&path)? != file.content {
                return Ok(false);
            }
        }
    }
    Ok(count == payload.files.len())
}

fn version_of(name: &Path) -> u64 {
    let name = name.to_string_lossy();
    name.strip_prefix(VERSION)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let files = files.iter().map(|(path, content)| {
            let file = File {
                content: content.as_bytes().to_vec(),
                mode: 0o640,
            };
            (PathBuf::from(path), file)
        });
        Payload {
            files: files.collect(),
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("lateen-volume-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn new_files_replace_the_old_ones_in_one_step() {
        let volume = scratch("swap");
        write(
            &volume,
            &payload(&[("a", "1"), ("dir/b", "2"), ("gone", "3")]),
        )
        .unwrap();
        assert_eq!(fs::read_to_string(volume.join("dir/b")).unwrap(), "2");
        let mode = fs::metadata(volume.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        write(&volume, &payload(&[("a", "new"), ("dir/b", "2")])).unwrap();
        assert_eq!(fs::read_to_string(volume.join("a")).unwrap(), "new");
        assert!(!volume.join("gone").exists());
        assert_eq!(fs::read_link(volume.join(DATA)).unwrap(), Path::new("..v2"));
        assert!(!volume.join("..v1").exists());
        fs::remove_dir_all(volume).unwrap();
    }

    #[test]
    fn what_has_not_changed_is_not_written() {
        let volume = scratch("same");
        let files = payload(&[("a", "1"), ("d/e", "2")]);
        write(&volume, &files).unwrap();
        write(&volume, &files).unwrap();
        assert_eq!(fs::read_link(volume.join(DATA)).unwrap(), Path::new("..v1"));
        fs::remove_dir_all(volume).unwrap();
    }

    #[test]
    fn a_volume_may_be_empty() {
        let volume = scratch("empty");
        write(&volume, &payload(&[])).unwrap();
        write(&volume, &payload(&[("a", "1")])).unwrap();
        write(&volume, &payload(&[])).unwrap();
        assert!(!volume.join("a").exists());
        fs::remove_dir_all(volume).unwrap();
    }
}
