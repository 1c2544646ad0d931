//! `lateen-proxy`: the data plane of the mesh, and the two commands that injected pods run beside
//! it.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use lateen_model::proxy::Role;
use lateen_proxy::admin::{SetLevel, fetch};
use lateen_proxy::settings::{Flags, Settings};
use lateen_proxy::{process, tunables};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

/// The data plane of the Lateen service mesh.
#[derive(Parser)]
#[command(name = "lateen-proxy", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs beside an application and carries its traffic.
    Sidecar(Box<Flags>),
    /// Runs at the edge of the mesh.
    Gateway(Box<Flags>),
    /// Has the proxy of this pod drain, and waits until it has (the pod's preStop hook).
    Drain(DrainFlags),
    /// Installs the rules that lead this pod's traffic through its proxy (the init container).
    Capture(CaptureFlags),
}

#[derive(Args)]
struct DrainFlags {
    /// The proxy's admin port.
    #[arg(long, default_value_t = 15000)]
    admin_port: u16,
    /// Seconds after which to give up waiting.
    #[arg(long, default_value_t = 120.0)]
    timeout: f64,
}

#[derive(Args)]
#[command(disable_help_flag = true)]
struct CaptureFlags {
    /// As in Istio's annotations; `--help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lateen-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Sidecar(flags) => proxy(Role::Sidecar, *flags),
        Command::Gateway(flags) => proxy(Role::Gateway, *flags),
        Command::Drain(flags) => drain(&flags),
        Command::Capture(flags) => capture(flags.arguments),
    }
}

fn proxy(role: Role, flags: Flags) -> anyhow::Result<()> {
    let tuned = tunables::apply();
    let set_level = start_logging(&flags.log_level)?;
    if let Err(error) = tuned {
        tracing::warn!(%error, "memory is not tuned: the program cannot be started again");
    }
    // A variable that is not UTF-8 cannot be one of ours.
    let variables = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    let settings = Settings::resolve(role, flags, variables)?;
    process::run(settings, set_level)
}

/// Logs to standard error, so that an access log on standard output stays clean.
fn start_logging(level: &str) -> anyhow::Result<SetLevel> {
    let filter = EnvFilter::try_new(level).context("--log-level")?;
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    Ok(Box::new(move |level| {
        let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

fn drain(flags: &DrainFlags) -> anyhow::Result<()> {
    let limit = Duration::try_from_secs_f64(flags.timeout).context("--timeout")?;
    let address = ([127, 0, 0, 1], flags.admin_port).into();
    let head = b"POST /drain HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asked = async {
        let mut stream = fetch::connect(address).await?;
        fetch::fetch(&mut stream, head).await
    };
    let answered = runtime.block_on(async { tokio::time::timeout(limit, asked).await });
    let (status, body) = answered
        .with_context(|| format!("the proxy did not drain within {limit:?}"))?
        .with_context(|| format!("ask the proxy at {address} to drain: is it running?"))?;
    anyhow::ensure!(
        status == 200,
        "the proxy answered {status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(())
}

fn capture(arguments: Vec<String>) -> anyhow::Result<()> {
    if arguments
        .iter()
        .any(|argument| matches!(argument.as_str(), "--help" | "-h"))
    {
        for flag in lateen_capture::flags::FLAGS {
            eprintln!("--{}={:?}\n    {}", flag.name, flag.default, flag.help);
        }
        return Ok(());
    }
    let settings = lateen_capture::flags::parse(arguments)?;
    lateen_capture::install(&settings)?;
    eprintln!("lateen-proxy: the pod's traffic is captured");
    Ok(())
}
