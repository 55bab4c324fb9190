//! `keyreel keys …`: a tenant's keys over their life.

mod rewrap;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Moves a tenant's recordings from older keys to the current one. Recordings play meanwhile.
    Rewrap(rewrap::RewrapArgs),
    /// Retires a key that no recording needs any more: it opens nothing, and its private half is
    /// deleted.
    Retire(rewrap::RetireArgs),
}

pub(crate) async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Rewrap(args) => rewrap::rewrap(args).await,
        Command::Retire(args) => rewrap::retire(args).await,
    }
}
