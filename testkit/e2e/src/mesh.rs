//! A mesh on this machine, and `kubectl` for it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// Who runs the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests.
    Invoking,
    /// A user with no rights at all, which root switches to.
    Unprivileged,
}

/// The uid and gid of Debian's `nobody` and `nogroup`.
const NOBODY: &str = "65534";

/// A running mesh; ends with the value.
#[derive(Debug)]
pub struct Mesh {
    user: User,
    programs: PathBuf,
    home: PathBuf,
    /// Where the ingress gateway answers: `127.0.0.1:<port>`.
    pub ingress: String,
}

/// A running `kubectl port-forward`; ends with the value.
#[derive(Debug)]
pub struct Forward {
    child: Child,
    /// Kept open: kubectl tells of each connection.
    output: BufReader<ChildStdout>,
    /// Where the port is to be reached.
    pub address: String,
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self")
        .is_ok_and(|data| std::os::unix::fs::MetadataExt::uid(&data) == 0)
}

impl Mesh {
    /// Starts a mesh with `lateen up` and these further arguments.
    pub fn up(user: User, arguments: &[&str]) -> anyhow::Result<Self> {
        let home = new_home(user)?;
        let programs = install_programs(&home)?;
        copy_samples(&home)?;
        let mut mesh = Self {
            user,
            programs,
            home,
            ingress: String::new(),
        };
        let began = Instant::now();
        let echo = mesh.programs.join("lateen-echo");
        let echo = format!("--image={}={}", crate::echo::IMAGE, echo.display());
        mesh.lateen(
            &[
                &[
                    "up",
                    "--http-port",
                    "0",
                    "--https-port",
                    "0",
                    "--api-port",
                    "0",
                    &echo,
                ],
                arguments,
            ]
            .concat(),
        )?;
        println!("lateen up: {:.2} s", began.elapsed().as_secs_f32());
        mesh.ingress = mesh.variable("GATEWAY_URL")?;
        Ok(mesh)
    }

    /// What `lateen env` says of a variable.
    pub fn variable(&self, key: &str) -> anyhow::Result<String> {
        let environment = self.lateen(&["env"])?;
        environment
            .lines()
            .filter_map(|line| line.trim().trim_start_matches("export ").split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.trim_matches(['"', '\'']).to_owned())
            .with_context(|| format!("`lateen env` does not print {key}:\n{environment}"))
    }

    /// Runs one of the programs and returns what it printed; fails if it does.
    pub fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        checked(&mut self.command(program), arguments)
    }

    /// Runs `lateen` and returns what it printed; fails if it does.
    pub fn lateen(&self, arguments: &[&str]) -> anyhow::Result<String> {
        checked(&mut self.command("lateen"), arguments)
    }

    /// Runs `lateen` and returns how it ended, whatever that is.
    pub fn try_lateen(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self
            .command("lateen")
            .args(arguments)
            .stdin(Stdio::null())
            .output()?)
    }

    /// Runs `kubectl` and returns what it printed; fails if it does.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        checked(&mut self.command("kubectl"), arguments)
    }

    /// Runs `kubectl` and returns how it ended, whatever that is.
    pub fn try_kubectl(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Ok(self
            .command("kubectl")
            .args(arguments)
            .stdin(Stdio::null())
            .output()?)
    }

    /// Forwards a port of what `target` names, such as `deploy/web`, by `kubectl port-forward`.
    pub fn forward(&self, target: &str, port: u16) -> anyhow::Result<Forward> {
        let mut child = self
            .command("kubectl")
            .args(["port-forward", target, &format!(":{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("standard output is piped")?;
        let mut forward = Forward {
            child,
            output: BufReader::new(output),
            address: String::new(),
        };
        let mut line = String::new();
        forward.output.read_line(&mut line)?;
        let address = line.strip_prefix("Forwarding from ");
        let address = address.and_then(|rest| rest.split(' ').next());
        forward.address = address
            .with_context(|| format!("kubectl said {line:?}"))?
            .into();
        Ok(forward)
    }

    /// `kubectl apply -f -` of YAML.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<String> {
        let output = self.try_apply(yaml)?;
        ensure!(output.status.success(), "kubectl apply: {}", text(&output));
        Ok(text(&output))
    }

    /// `kubectl apply -f -` of YAML, whatever it answers.
    pub fn try_apply(&self, yaml: &str) -> anyhow::Result<Output> {
        self.feed(&["apply", "-f", "-"], yaml)
    }

    /// `kubectl create -f -` of one object; returns the name that it got.
    pub fn create(&self, yaml: &str) -> anyhow::Result<String> {
        let path = "jsonpath={.metadata.name}";
        let output = self.feed(&["create", "-f", "-", "-o", path], yaml)?;
        ensure!(output.status.success(), "kubectl create: {}", text(&output));
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn feed(&self, arguments: &[&str], yaml: &str) -> anyhow::Result<Output> {
        let mut child = self
            .command("kubectl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child
            .stdin
            .take()
            .context("standard input is piped")?
            .write_all(yaml.as_bytes())?;
        Ok(child.wait_with_output()?)
    }

    /// Asks again and again until the answer is as wanted.
    pub fn eventually<T>(
        &self,
        what: &str,
        within: Duration,
        mut ask: impl FnMut(&Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let end = Instant::now() + within;
        loop {
            let last = match ask(self) {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => String::from("not yet"),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > end {
                bail!(
                    "{what}: not within {within:?}; last: {last}\n{}",
                    self.diagnosis()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What a person would look at first when something does not come up.
    pub fn diagnosis(&self) -> String {
        let mut report = String::new();
        for arguments in [
            &["get", "pods", "-A", "-o", "wide"][..],
            &[
                "get",
                "events",
                "-A",
                "--sort-by=.metadata.creationTimestamp",
            ],
            &["logs", "-n", "istio-system", "deploy/istiod", "--tail=30"],
        ] {
            if let Ok(output) = self.try_kubectl(arguments) {
                report.push_str(&format!(
                    "--- kubectl {}\n{}\n",
                    arguments.join(" "),
                    text(&output)
                ));
            }
        }
        report
    }

    /// The path of a file of the Bookinfo sample, such as `platform/kube/bookinfo.yaml`.
    pub fn sample(&self, file: &str) -> String {
        self.home.join("samples").join(file).display().to_string()
    }

    /// The processes of the publisher, outside, and of the supervisor, inside.
    pub fn processes(&self) -> anyhow::Result<(u32, u32)> {
        let status: serde_json::Value =
            serde_json::from_str(&self.lateen(&["status", "-o", "json"])?)?;
        let pid = |key: &str| {
            let pid = status[key]
                .as_u64()
                .with_context(|| format!("`lateen status -o json` has no {key}"))?;
            anyhow::Ok(u32::try_from(pid)?)
        };
        Ok((pid("publisherPid")?, pid("pid")?))
    }

    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let program = if path.exists() {
            path
        } else {
            PathBuf::from(program)
        };
        let mut command = match self.user {
            User::Invoking => Command::new(program),
            User::Unprivileged => {
                let mut command = Command::new("setpriv");
                command
                    .args([
                        "--reuid",
                        NOBODY,
                        "--regid",
                        NOBODY,
                        "--clear-groups",
                        "--no-new-privs",
                        "--",
                    ])
                    .arg(program);
                command
            }
        };
        command
            .env("HOME", &self.home)
            .env("XDG_STATE_HOME", self.home.join("state"))
            .env("KUBECONFIG", self.home.join("kubeconfig"))
            .env_remove("XDG_RUNTIME_DIR")
            .current_dir(&self.home);
        command
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.diagnosis());
            println!(
                "{}",
                self.lateen(&["logs"])
                    .unwrap_or_else(|error| format!("{error:#}"))
            );
        }
        if let Err(error) = self.lateen(&["down"]) {
            println!("lateen down: {error:#}");
        }
        std::fs::remove_dir_all(&self.home).ok();
    }
}

/// A home directory that belongs to the user.
fn new_home(user: User) -> anyhow::Result<PathBuf> {
    let base = std::env::temp_dir();
    let stamp = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_nanos();
    let home = base.join(format!("lateen-e2e-{}-{stamp}", std::process::id()));
    std::fs::create_dir(&home).with_context(|| home.display().to_string())?;
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755))?;
    if user == User::Unprivileged {
        std::os::unix::fs::chown(&home, Some(65534), Some(65534))
            .context("only root can switch users")?;
    }
    Ok(home)
}

/// Copies the programs to where every user can read them: a checkout may lie in a closed home.
fn install_programs(home: &Path) -> anyhow::Result<PathBuf> {
    let from = std::env::var_os("LATEEN_BIN_DIR")
        .map(PathBuf::from)
        .context("LATEEN_BIN_DIR is not set: `make e2e` builds the programs and sets it")?;
    let to = home.join("bin");
    std::fs::create_dir(&to)?;
    for program in ["lateen", "lateen-proxy", "bookinfo", "lateen-echo"] {
        std::fs::copy(from.join(program), to.join(program))
            .with_context(|| format!("{} is not built", from.join(program).display()))?;
    }
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755))?;
    Ok(to)
}

/// Copies the sample's YAML for the same reason.
fn copy_samples(home: &Path) -> anyhow::Result<()> {
    // Tests run in their package's folder: checkouts in several places may share what was built.
    let from = Path::new("../../samples/bookinfo");
    for folder in ["platform/kube", "networking"] {
        let to = home.join("samples").join(folder);
        std::fs::create_dir_all(&to)?;
        for entry in std::fs::read_dir(from.join(folder))? {
            let entry = entry?;
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn checked(command: &mut Command, arguments: &[&str]) -> anyhow::Result<String> {
    let output = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{} failed: {}",
        arguments.join(" "),
        text(&output)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Both outputs of a command.
pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
