//! An API server on a port of its own, with a kubeconfig for the real kubectl.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Config, ResourceExt};
use lateen_local::apiserver::{ApiServer, Options, User};
use tokio::sync::oneshot;

/// A served API server. It goes away with the value.
pub(crate) struct Served {
    pub(crate) server: ApiServer,
    pub(crate) url: String,
    pub(crate) directory: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Starts a server that keeps nothing.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same with other settings.
    pub(crate) fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        let directory = std::env::temp_dir().join(format!("lateen-{}", unique()));
        std::fs::create_dir(&directory).unwrap();
        let mut options = Options {
            log_dir: Some(directory.join("logs")),
            ..Options::default()
        };
        change(&mut options);
        let server = ApiServer::open(options).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = std::sync::mpsc::channel();
        let own = server.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = own.serve(listener) => {}
                    () = make_accounts(own.client(User::controllers())) => {}
                    _ = stopped => {}
                }
            });
        });
        let url = format!("https://{}", address.recv().unwrap());
        let kubeconfig = server.kubeconfig(&url, "test").unwrap().to_string();
        std::fs::write(directory.join("config"), kubeconfig).unwrap();
        Self {
            server,
            url,
            directory,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// A client inside of the process.
    pub(crate) fn client(&self) -> Client {
        self.server.client(User::admin())
    }

    /// A client that connects as kubectl does.
    pub(crate) async fn remote(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.directory.join("config")).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        Client::try_from(config.unwrap()).unwrap()
    }

    /// Runs kubectl with some text as its standard input.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command();
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("these tests need kubectl, but {command:?}: {error}"));
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }

    /// A kubectl for this server.
    pub(crate) fn command(&self) -> Command {
        let program = std::env::var("KUBECTL").unwrap_or_else(|_| "kubectl".into());
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", self.directory.join("config"))
            .env("HOME", &self.directory);
        command
    }

    /// Runs kubectl, which must succeed; answers what it prints.
    pub(crate) fn kubectl(&self, arguments: &str) -> String {
        self.with_input(arguments, "")
    }

    /// As [`Self::kubectl`], with standard input.
    pub(crate) fn with_input(&self, arguments: &str, input: &str) -> String {
        let output = self.run(&words(arguments), input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs kubectl, which must fail; answers what it complains.
    pub(crate) fn fails(&self, arguments: &str, input: &str) -> String {
        let output = self.run(&words(arguments), input);
        assert!(!output.status.success(), "kubectl {arguments} succeeded");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Applies YAML; answers what kubectl prints.
    pub(crate) fn apply(&self, yaml: &str) -> String {
        self.with_input("apply -f -", yaml)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        std::fs::remove_dir_all(&self.directory).ok();
    }
}

/// Splits a command at spaces; single quotes keep them.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, tail) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').unwrap(),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word);
        rest = tail.trim_start();
    }
    words
}

fn unique() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}", std::process::id())
}

/// What the controller of service accounts does: every namespace has one called `default`.
async fn make_accounts(client: Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let stream = watcher::watcher(namespaces, watcher::Config::default());
    stream
        .try_for_each(|event| {
            let client = client.clone();
            async move {
                if let Event::Apply(namespace) | Event::InitApply(namespace) = event {
                    let accounts: Api<ServiceAccount> =
                        Api::namespaced(client, &namespace.name_any());
                    let account = ServiceAccount {
                        metadata: ObjectMeta {
                            name: Some("default".into()),
                            ..ObjectMeta::default()
                        },
                        ..ServiceAccount::default()
                    };
                    // It may exist already, and the namespace may be going.
                    accounts.create(&PostParams::default(), &account).await.ok();
                }
                Ok(())
            }
        })
        .await
        .unwrap();
}
