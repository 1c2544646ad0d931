//! The images that a cluster was started with: checked, and kept for its next start.

use super::options::Options;
use super::state::Home;
use super::{Error, kubeconfig};
use crate::node::images::Mapping;

/// The mappings of the cluster `name`, as it runs or was started last.
///
/// # Errors
/// If what was kept of them cannot be read.
pub fn images(name: &str, state: Option<&std::path::Path>) -> Result<Vec<Mapping>, Error> {
    match Home::find(name, state)? {
        Some(home) => kept(&home),
        None => Ok(Vec::new()),
    }
}

/// The mappings that are asked for, each of which must be a program, and those of the last start
/// of other images. A program that has gone meanwhile is told by the pods that want it.
pub(super) fn all(home: &Home, options: &Options) -> Result<Vec<Mapping>, Error> {
    let programs = options.programs().map_err(Error::system("find myself"))?;
    for mapping in &options.images {
        mapping.locate(&programs).map_err(|why| Error::Image {
            image: mapping.image.clone(),
            program: mapping.program.clone(),
            why,
        })?;
    }
    let mut all = options.images.clone();
    for mapping in kept(home)? {
        if all.iter().all(|other| other.image != mapping.image) {
            all.push(mapping);
        }
    }
    Ok(all)
}

/// Keeps the mappings for the next start.
pub(super) fn keep(home: &Home, images: &[Mapping]) -> Result<(), Error> {
    let path = home.images();
    let text = serde_json::to_vec_pretty(images).map_err(Error::file("write", &path))?;
    kubeconfig::replace(&path, &text).map_err(Error::file("write", path))
}

fn kept(home: &Home) -> Result<Vec<Mapping>, Error> {
    let path = home.images();
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(Error::file("read", path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("lateen-kept-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    fn options(images: &[&str]) -> Options {
        Options {
            images: images
                .iter()
                .map(|text| Mapping::parse(text).unwrap())
                .collect(),
            ..Options::default()
        }
    }

    #[test]
    fn mappings_are_kept_and_a_newer_one_of_the_same_image_replaces_the_older() {
        let root = scratch("merge");
        let home = Home::open("lateen", Some(&root)).unwrap();
        let first = all(&home, &options(&["a=/bin/sh", "b=/bin/sh"])).unwrap();
        keep(&home, &first).unwrap();
        let second = all(&home, &options(&["b=/bin/sh -x"])).unwrap();
        assert_eq!(second, options(&["b=/bin/sh -x", "a=/bin/sh"]).images);
        assert_eq!(images("lateen", Some(&root)).unwrap(), first);
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_no_program_is_refused_with_its_path() {
        let root = scratch("refuse");
        let home = Home::open("lateen", Some(&root)).unwrap();
        let text = root.join("text");
        fs::write(&text, "").unwrap();
        let of = |program: &str| {
            all(&home, &options(&[&format!("web:1={program}")]))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            of("/no/such/program"),
            "the image web:1 cannot stand for /no/such/program: it does not exist"
        );
        assert!(of(&text.display().to_string()).ends_with("it is not executable"));
        assert!(of(&root.display().to_string()).ends_with("it is no file"));
        assert!(of("no-such-program").contains("neither beside lateen nor in the system's"));
        fs::remove_dir_all(root).unwrap();
    }
}
