//! The program: reads the command line, wires the parts together, runs one command.
//! Not for: anything that a library of ours should do.
#![forbid(unsafe_code)]

mod accounts;
mod assemble;
mod audit;
mod config;
mod demo;
mod file;
mod import;
mod keys;
mod keystore;
mod lkm;
mod new_file;
mod output;
mod providers;
mod recovery;
mod serve;
mod settings;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Plays recordings that are encrypted under keys their owner controls.
#[derive(Parser)]
#[command(name = "keyreel", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A server with a sample library; nothing else needed.
    Demo(demo::Args),
    /// The server.
    Serve(serve::Args),
    /// Seals the recordings of a folder into a tenant's library.
    Import(import::Args),
    /// Shows a sealed file's header. Needs no key.
    Inspect(file::InspectArgs),
    /// Opens a sealed file with its DEK, or with a recovery key. Needs no server.
    Open(file::OpenArgs),
    /// Tenants: add, list.
    #[command(subcommand)]
    Tenant(accounts::TenantCommand),
    /// Accounts: add, list, password, remove.
    #[command(subcommand)]
    User(accounts::UserCommand),
    /// Bearer tokens: add, list, revoke.
    #[command(subcommand)]
    Token(accounts::TokenCommand),
    /// The audit log: tail, verify, export, checkpoint, key, resume.
    #[command(subcommand)]
    Audit(audit::Command),
    /// A tenant's keys: list, rotate, schedule, rewrap, retire, recovery, shred, destructions,
    /// certificate, apply.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Recovery keys, offline: new.
    #[command(subcommand)]
    Recovery(recovery::Command),
    /// The keystore: init, rekey.
    #[command(subcommand)]
    Keystore(keystore::Command),
    /// The configuration: check, schema.
    #[command(subcommand)]
    Config(config::Command),
    /// A Local Key Manager: init, serve, rotate, credentials.
    #[command(subcommand)]
    Lkm(lkm::Command),
}

/// Where the configuration lies.
#[derive(clap::Args, Clone)]
struct ConfigFile {
    /// The configuration file.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "keyreel.toml",
        env = "KEYREEL_CONFIG"
    )]
    config: PathBuf,
}

fn main() -> ExitCode {
    // For tests of what a crash leaves. Not in what users get.
    #[cfg(debug_assertions)]
    keyreel_keys::crash::arm(keyreel_keys::crash::die_as_told);
    // clap ends with 2 for bad usage; ours is 64 (EX_USAGE), as for a bad configuration.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() {
                output::EX_USAGE
            } else {
                0
            };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::report(&error),
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Inspect(args) => file::inspect(&args),
        Command::Open(args) => file::open(&args),
        Command::Config(command) => config::run(&command),
        Command::Recovery(command) => recovery::run(&command),
        Command::Lkm(command) => lkm::run(command),
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Serve(args) => block_on(serve::run(args)),
        Command::Import(args) => block_on(import::run(args)),
        Command::Tenant(command) => block_on(accounts::tenant(command)),
        Command::User(command) => block_on(accounts::user(command)),
        Command::Token(command) => block_on(accounts::token(command)),
        Command::Audit(command) => block_on(audit::run(command)),
        Command::Keys(command) => block_on(keys::run(command)),
        Command::Keystore(command) => block_on(keystore::run(command)),
    }
}

/// Runs a command to its end. A read that hangs in the kernel does not keep the program alive.
fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}
