//! `keyreel recovery …`: recovery keys on a machine of their owner's. No server, catalogue or
//! keystore is needed, nor a network.
//! Not for: telling Keyreel of one (see `keys::recovery`), nor opening files with one (see `file`).

use std::path::PathBuf;

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use keyreel_format::wrap::RsaModulus;
use keyreel_keys::{RecoveryPair, RecoveryPairKind};
use serde_json::json;

use crate::new_file::{self, For};
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Makes a pair: a private half, to be kept offline, and a public half for Keyreel.
    New(NewArgs),
}

#[derive(clap::Args)]
pub(crate) struct NewArgs {
    /// What kind.
    #[arg(long, value_enum)]
    algorithm: AlgorithmName,
    /// Where both files go; made where it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum AlgorithmName {
    /// 128-bit strength, for tenants of policy `compatible`; `openssl` alone opens what it seals.
    #[value(name = "rsa-3072")]
    Rsa3072,
    /// As rsa-3072, with a longer modulus.
    #[value(name = "rsa-4096")]
    Rsa4096,
    /// AES-256 strength, post-quantum; for tenants of either policy.
    #[value(name = "mlkem1024-p384")]
    Mlkem1024P384,
}

impl AlgorithmName {
    fn kind(self) -> RecoveryPairKind {
        match self {
            Self::Rsa3072 => RecoveryPairKind::Rsa(RsaModulus::Bits3072),
            Self::Rsa4096 => RecoveryPairKind::Rsa(RsaModulus::Bits4096),
            Self::Mlkem1024P384 => RecoveryPairKind::Mlkem1024P384,
        }
    }
}

pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::New(NewArgs { algorithm, out }) = command;
    let pair = RecoveryPair::generate(algorithm.kind())?;
    std::fs::create_dir_all(out).with_context(|| format!("the folder {}", out.display()))?;
    let file = |half: &str| out.join(format!("recovery-{}.{half}.pem", pair.id()));
    let (private, public) = (file("private"), file("public"));
    new_file::write(&private, pair.private_pem()?.as_bytes(), For::Owner)?;
    new_file::write(&public, pair.public_pem().as_bytes(), For::Anybody)?;
    let made = json!({
        "id": pair.id(),
        "algorithm": pair.algorithm().name(),
        "privateKey": private,
        "publicKey": public,
    });
    output::data(&made.to_string())?;
    output::note(&format!(
        "{}: opens every recording that is wrapped to it. Keep it offline, in two places at least, and \
         never where Keyreel runs. It has no passphrase: who can read the file has the key",
        private.display()
    ));
    output::note(&format!(
        "{}: goes to Keyreel, with `keyreel keys recovery set --tenant ID --public-key FILE`",
        public.display()
    ));
    output::note("rehearse it once a year: docs/operations.md, \"Recovery key\"");
    Ok(())
}
