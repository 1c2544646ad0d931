//! Images are names for programs on this machine.
//!
//! Nothing is pulled and nothing unpacked: a container gets the system's `/usr` and the one program
//! that its image's name is mapped to. The table is built in for what the mesh and its sample use,
//! and is extended by whoever starts the cluster.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::container::root;
use crate::cluster::options::command;

/// An image and the program that it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapping {
    /// A name such as `curlimages/curl`, `*` standing for any part; without a tag it is every tag.
    pub image: String,
    /// A path, or a name that is looked for beside this program, then in the system's directories.
    pub program: PathBuf,
    /// Arguments before the container's own.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// All mappings of a node.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    mappings: Vec<Mapping>,
    /// Where programs with no path are looked for, in this order.
    directories: Vec<PathBuf>,
    /// The cluster's name, for messages.
    cluster: String,
}

/// What an image stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// What runs unless the container has a command of its own.
    pub(crate) entrypoint: Vec<String>,
    /// A program to bind into the container, with its name there.
    pub(crate) program: Option<(PathBuf, String)>,
}

/// Where the system's programs are.
const SYSTEM: [&str; 6] = [
    "/usr/local/bin",
    "/usr/bin",
    "/bin",
    "/usr/local/sbin",
    "/usr/sbin",
    "/sbin",
];
/// The images that every node knows: name, program, arguments.
const BUILT_IN: [(&str, &str, &[&str]); 12] = [
    ("*/lateen", "lateen", &[]),
    ("*/lateen-proxy", "lateen-proxy", &[]),
    (
        "*/examples-bookinfo-productpage-v1",
        "bookinfo",
        &["productpage"],
    ),
    ("*/examples-bookinfo-details-v1", "bookinfo", &["details"]),
    ("*/examples-bookinfo-ratings-v1", "bookinfo", &["ratings"]),
    (
        "*/examples-bookinfo-reviews-v1",
        "bookinfo",
        &["reviews", "--version", "v1"],
    ),
    (
        "*/examples-bookinfo-reviews-v2",
        "bookinfo",
        &["reviews", "--version", "v2"],
    ),
    (
        "*/examples-bookinfo-reviews-v3",
        "bookinfo",
        &["reviews", "--version", "v3"],
    ),
    ("curlimages/curl", "curl", &[]),
    ("*/curl", "curl", &[]),
    ("busybox", "sh", &[]),
    ("alpine", "sh", &[]),
];

// === impl Mapping ===

impl Mapping {
    /// Reads `NAME=PROGRAM [ARGUMENT]…`, as it is given on a command line.
    ///
    /// # Errors
    /// What is wrong with the text, for the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let usage = || format!("{text:?} is not of the form NAME=PROGRAM [ARGUMENT]...");
        let (image, command) = text.split_once('=').ok_or_else(usage)?;
        let mut words = command.split_whitespace().map(str::to_owned);
        let program = words.next().ok_or_else(usage)?;
        if image.trim().is_empty() {
            return Err(usage());
        }
        Ok(Self {
            image: image.trim().into(),
            program: program.into(),
            arguments: words.collect(),
        })
    }

    /// With a program that is a path from where this process is made one that is valid anywhere.
    ///
    /// # Errors
    /// If the current directory is unknown.
    pub fn absolute(mut self) -> std::io::Result<Self> {
        if self.program.components().count() > 1 {
            self.program = std::path::absolute(&self.program)?;
        }
        Ok(self)
    }

    /// The program's path; `programs` is where the mesh's own are.
    ///
    /// # Errors
    /// What is wrong with it, for the user.
    pub fn locate(&self, programs: &Path) -> Result<PathBuf, String> {
        let path = if self.program.is_absolute() {
            self.program.clone()
        } else {
            find(&self.program, &directories(programs)).ok_or(
                "it is neither beside lateen nor in the system's directories; give its path",
            )?
        };
        let metadata = std::fs::metadata(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
            _ => error.to_string(),
        })?;
        if !metadata.is_file() {
            return Err("it is no file".into());
        }
        rustix::fs::access(&path, rustix::fs::Access::EXEC_OK)
            .map_err(|_| "it is not executable")?;
        Ok(path)
    }

    fn covers(&self, name: &Name<'_>) -> bool {
        let pattern = Name::parse(&self.image);
        let same_tag = pattern.tag.is_none() || pattern.tag == name.tag;
        same_tag && matches(pattern.repository, name.repository)
    }
}

// === impl Images ===

impl Images {
    /// The built-in mappings and these, which come first; `programs` is where the mesh's own are.
    pub(crate) fn new(mappings: &[Mapping], programs: &Path, cluster: &str) -> Self {
        let built_in = BUILT_IN.iter().map(|(image, program, arguments)| Mapping {
            image: (*image).into(),
            program: program.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
        });
        Self {
            mappings: mappings.iter().cloned().chain(built_in).collect(),
            directories: directories(programs),
            cluster: cluster.to_owned(),
        }
    }

    /// What an image stands for.
    ///
    /// # Errors
    /// For the user: how to map it, or which program is missing.
    pub(crate) fn resolve(&self, image: &str) -> Result<Image, String> {
        let name = Name::parse(image);
        let Some(mapping) = self.mappings.iter().find(|mapping| mapping.covers(&name)) else {
            return Err(format!(
                "image {image:?} is not mapped to a program of this machine, and this node pulls \
                 none: {}",
                self.how_to_map(&name)
            ));
        };
        let path = self.find(&mapping.program).ok_or_else(|| {
            format!(
                "image {image:?} stands for the program {}, which is neither beside lateen nor in \
                 the system's directories: install it, or map the image to another one; {}",
                mapping.program.display(),
                self.how_to_map(&name)
            )
        })?;
        let (first, program) = if root::is_system(&path) {
            (path.display().to_string(), None)
        } else {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            (name.clone(), Some((path, name)))
        };
        let mut entrypoint = vec![first];
        entrypoint.extend(mapping.arguments.iter().cloned());
        Ok(Image {
            entrypoint,
            program,
        })
    }

    fn find(&self, program: &Path) -> Option<PathBuf> {
        if program.is_absolute() {
            return program.is_file().then(|| program.to_owned());
        }
        find(program, &self.directories)
    }

    /// What to do so that an image is mapped: the table is read when the cluster starts.
    fn how_to_map(&self, name: &Name<'_>) -> String {
        let tag = name.tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        format!(
            "restart the cluster with `{}`, then `{} --image {}{tag}=/path/to/program`",
            command("down", &self.cluster),
            command("up", &self.cluster),
            name.repository,
        )
    }
}

/// Where programs with no path are looked for, in this order.
fn directories(programs: &Path) -> Vec<PathBuf> {
    let mut directories = vec![programs.to_owned()];
    directories.extend(SYSTEM.map(PathBuf::from));
    directories
}

fn find(program: &Path, directories: &[PathBuf]) -> Option<PathBuf> {
    directories
        .iter()
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// An image's name, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Name<'a> {
    /// Without the registry that is meant when none is named.
    repository: &'a str,
    tag: Option<&'a str>,
}

// === impl Name ===

impl<'a> Name<'a> {
    fn parse(text: &'a str) -> Self {
        let (text, _digest) = text.split_once('@').unwrap_or((text, ""));
        // A colon before the last slash belongs to a registry's port.
        let (repository, tag) = match text.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (text, None),
        };
        let repository = repository.strip_prefix("docker.io/").unwrap_or(repository);
        Self {
            repository: repository.strip_prefix("library/").unwrap_or(repository),
            tag,
        }
    }
}

/// Whether a text is of a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    (0..=text.len())
        .filter(|index| text.is_char_boundary(*index))
        .any(|index| matches(rest, &text[index..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(directory: &Path) -> Images {
        Images::new(&[], directory, "lateen")
    }

    fn scratch(name: &str, programs: &[&str]) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("lateen-images-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        for program in programs {
            std::fs::write(path.join(program), "").unwrap();
        }
        path
    }

    #[test]
    fn bookinfos_images_are_roles_of_one_program() {
        let directory = scratch("bookinfo", &["bookinfo"]);
        let images = images(&directory);
        let reviews = images
            .resolve("docker.io/istio/examples-bookinfo-reviews-v2:1.20.3")
            .unwrap();
        assert_eq!(
            reviews.entrypoint,
            ["bookinfo", "reviews", "--version", "v2"]
        );
        assert_eq!(
            reviews.program,
            Some((directory.join("bookinfo"), "bookinfo".into()))
        );
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn programs_of_the_system_run_where_they_are() {
        let image = images(Path::new("/nowhere"))
            .resolve("busybox:1.36")
            .unwrap();
        assert_eq!(image.program, None);
        assert!(image.entrypoint[0].ends_with("/sh"), "{image:?}");
    }

    #[test]
    fn an_unknown_image_says_how_to_map_it() {
        let error = images(Path::new("/nowhere"))
            .resolve("quay.io/some/thing@sha256:00")
            .unwrap_err();
        assert!(
            error.contains("--image quay.io/some/thing=/path/to/program"),
            "{error}"
        );
        let two = Images::new(&[], Path::new("/nowhere"), "two");
        let error = two.resolve("web:1").unwrap_err();
        assert!(
            error.ends_with(
                "restart the cluster with `lateen down --name two`, then `lateen up --name two \
                 --image web:1=/path/to/program`"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_path_from_here_is_valid_anywhere_and_a_name_stays_one() {
        let program = |text| Mapping::parse(text).unwrap().absolute().unwrap().program;
        let here = std::env::current_dir().unwrap();
        assert_eq!(program("web=build/web"), here.join("build/web"));
        assert_eq!(program("web=./web"), here.join("web"));
        assert_eq!(program("web=web"), Path::new("web"));
        assert_eq!(program("web=/bin/sh"), Path::new("/bin/sh"));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = images(Path::new("/nowhere"))
            .resolve("hub/lateen-proxy:1")
            .unwrap_err();
        assert!(
            error.contains("the program lateen-proxy, which is neither"),
            "{error}"
        );
    }

    #[test]
    fn the_users_mappings_come_first_and_may_ask_for_a_tag() {
        let mapping = Mapping::parse("busybox:special=/bin/true -x").unwrap();
        assert_eq!(mapping.arguments, ["-x"]);
        let images = Images::new(&[mapping], Path::new("/nowhere"), "lateen");
        assert_eq!(
            images.resolve("busybox:special").unwrap().entrypoint,
            ["/bin/true", "-x"]
        );
        assert!(images.resolve("busybox:other").unwrap().entrypoint[0].ends_with("/sh"));
    }

    #[test]
    fn mappings_that_say_nothing_are_refused() {
        for text in ["", "busybox", "=sh", "busybox=", "busybox=  "] {
            assert!(Mapping::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_taken_apart_as_docker_does() {
        let name = |text| {
            let name = Name::parse(text);
            (name.repository, name.tag)
        };
        assert_eq!(name("busybox"), ("busybox", None));
        assert_eq!(name("docker.io/library/busybox:1"), ("busybox", Some("1")));
        assert_eq!(name("localhost:5000/a/b"), ("localhost:5000/a/b", None));
        assert_eq!(name("a/b:1@sha256:ff"), ("a/b", Some("1")));
    }
}
