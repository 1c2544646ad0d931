//! The file tree of a container: a tmpfs of its own with the system's programs bound in.
//!
//! Of this machine it shows `/usr`, `/bin`, `/sbin`, `/lib*` and a few public files of `/etc`, all
//! recursively read-only, and the programs that images are mapped to. An overlay of `/` would be
//! simpler and does not work: mounts inherited from outside of the user namespace are locked, and
//! overlayfs refuses such a lower layer.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::place::{self, Kind, Tree, via};
use super::spec::{Mount, PROGRAMS, Root};
use crate::sys::{self, MountScope};

/// What of this machine's root a container sees.
pub(crate) const SYSTEM: [&str; 7] = [
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32",
];
/// Public files without which programs of `/usr` do not work: where libraries are, which
/// alternative is chosen, whom TLS trusts. Never `/etc/ssl` itself, which holds private keys.
const SYSTEM_ETC: [&str; 14] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];
/// Empty directories, with their modes.
const DIRECTORIES: [(&str, u32); 16] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("mnt", 0o755),
    ("opt/lateen/bin", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Parts of `/proc` that configure the machine; if the cluster runs as root they would obey.
const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
const PROC_HIDDEN: [&str; 6] = [
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "timer_list",
    "timer_stats",
];

/// Builds the tree in a mount namespace of its own and moves this process onto it.
pub(super) fn enter(root: &Root) -> io::Result<()> {
    let at = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"))
    };
    sys::unshare(UnshareFlags::NEWNS).map_err(at("make a mount namespace"))?;
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let scratch = &root.scratch;
    tmpfs(scratch, c"mode=0755").map_err(at("mount the root"))?;
    make_directories(scratch).map_err(at("make directories"))?;
    bind_system(scratch).map_err(at("bind the system's programs"))?;
    for (program, name) in &root.programs {
        let target = scratch.join(PROGRAMS.trim_start_matches('/')).join(name);
        bind_file(program, &target).map_err(at(&format!("bind {}", program.display())))?;
    }
    make_devices(&scratch.join("dev")).map_err(at("make /dev"))?;
    mount_kernel(scratch)?;
    for (path, text) in &root.files {
        let path = scratch.join(path.strip_prefix("/").unwrap_or(path));
        fs::write(&path, text).map_err(at(&format!("write {}", path.display())))?;
    }
    let tree = Tree::open(scratch)?;
    for mount in &root.mounts {
        bind_volume(&tree, mount)
            .map_err(at(&format!("mount a volume on {}", mount.target.display())))?;
    }
    if root.is_read_only {
        sys::make_read_only(scratch, MountScope::Single)?;
    }
    change_root(scratch).map_err(at("change the root"))
}

fn make_directories(root: &Path) -> io::Result<()> {
    let make = |path: &Path, mode| {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(path)
    };
    for (name, mode) in DIRECTORIES {
        make(&root.join(name), mode)?;
        // The mode of `mkdir` is subject to the umask and has no sticky bit in some kernels.
        let mode = rustix::fs::Mode::from_raw_mode(mode);
        rustix::fs::chmod(root.join(name), mode)?;
    }
    symlink("/run", root.join("var/run"))?;
    symlink("/run/lock", root.join("var/lock"))?;
    symlink("/proc/self/mounts", root.join("etc/mtab"))
}

fn bind_system(root: &Path) -> io::Result<()> {
    for path in SYSTEM.map(Path::new) {
        let target = root.join(path.strip_prefix("/").unwrap_or(path));
        let Ok(metadata) = fs::symlink_metadata(path) else {
            continue;
        };
        if metadata.is_symlink() {
            symlink(fs::read_link(path)?, target)?;
        } else if metadata.is_dir() {
            fs::create_dir(&target)?;
            bind_read_only(path, &target)?;
        }
    }
    for path in SYSTEM_ETC.map(Path::new) {
        let target = root.join(path.strip_prefix("/").unwrap_or(path));
        let Ok(metadata) = fs::metadata(path) else {
            continue;
        };
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        if metadata.is_dir() {
            fs::create_dir(&target)?;
            bind_read_only(path, &target)?;
        } else {
            bind_file(path, &target)?;
        }
    }
    Ok(())
}

fn make_devices(dev: &Path) -> io::Result<()> {
    // A mount of its own, so that a root made read-only leaves `/dev` as programs expect it.
    tmpfs(dev, c"mode=0755,size=64k")?;
    for name in DEVICES {
        let (source, target) = (Path::new("/dev").join(name), dev.join(name));
        if place::exists(&source) {
            fs::write(&target, "")?;
            rustix::mount::mount_bind(&source, &target)?;
        }
    }
    for (name, target) in DEVICE_LINKS {
        symlink(target, dev.join(name))?;
    }
    fs::create_dir(dev.join("shm"))?;
    tmpfs(&dev.join("shm"), c"mode=1777")?;
    let pts = dev.join("pts");
    fs::create_dir(&pts)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let data = c"newinstance,ptmxmode=0666,mode=0620";
    Ok(rustix::mount::mount(
        "devpts",
        &pts,
        "devpts",
        flags,
        Some(data),
    )?)
}

/// `/proc` and `/sys` of the container's own namespaces.
fn mount_kernel(root: &Path) -> io::Result<()> {
    let proc = root.join("proc");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("proc", &proc, "proc", flags, None)?;
    for name in PROC_READ_ONLY {
        let path = proc.join(name);
        if place::exists(&path) {
            bind_read_only(&path, &path)?;
        }
    }
    for name in PROC_HIDDEN {
        let path = proc.join(name);
        if place::exists(&path) {
            rustix::mount::mount_bind("/dev/null", &path)?;
        }
    }
    // Not everywhere allowed, and few programs look there.
    let flags = flags | MountFlags::RDONLY;
    let _ = rustix::mount::mount("sysfs", root.join("sys"), "sysfs", flags, None);
    Ok(())
}

fn bind_volume(tree: &Tree, mount: &Mount) -> io::Result<()> {
    // A part that is missing becomes a directory, as Kubernetes does; its volume is ours to write.
    let source = if mount.part.as_os_str().is_empty() {
        place::open(&mount.volume)?
    } else {
        Tree::open(&mount.volume)?.find_or_make(&mount.part, Kind::Directory)?
    };
    let kind = place::kind_of(&source)?;
    let target = tree.find_or_make(&mount.target, kind)?;
    if place::kind_of(&target)? != kind {
        return Err(io::Error::other(match kind {
            Kind::Directory => "it is a file, and the volume a directory",
            Kind::File => "it is a directory, and the volume a file",
        }));
    }
    rustix::mount::mount_bind_recursive(via(&source), via(&target))?;
    // What the path now leads to is the mount just made; the descriptor is what it covers.
    let mounted = tree.find(&mount.target)?;
    if mount.is_read_only {
        sys::make_read_only(&via(&mounted), MountScope::Recursive)?;
    }
    Ok(())
}

fn tmpfs(path: &Path, data: &std::ffi::CStr) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount(
        "tmpfs",
        path,
        "tmpfs",
        flags,
        Some(data),
    )?)
}

fn bind_file(source: &Path, target: &Path) -> io::Result<()> {
    fs::write(target, "")?;
    bind_read_only(source, target)
}

fn bind_read_only(source: &Path, target: &Path) -> io::Result<()> {
    rustix::mount::mount_bind_recursive(source, target)?;
    sys::make_read_only(target, MountScope::Recursive)
}

/// Makes `root` the root and lets go of everything else.
fn change_root(root: &Path) -> io::Result<()> {
    rustix::process::chdir(root)?;
    // The old root is put on top of the new one and taken away, which needs no directory for it.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Answers whether a path of this machine is in every container anyway.
pub(crate) fn is_system(path: &Path) -> bool {
    let real: PathBuf = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    SYSTEM.iter().any(|system| real.starts_with(system))
}
