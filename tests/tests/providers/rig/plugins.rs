//! The plugins as they are shipped, built by the cargo that built this test, each with what it may
//! reach.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keyreel_keys::{KeyProvider, ProviderId, SystemClock, Vault};
use keyreel_sandbox::{
    AwsSigner, Egress, EgressLimits, Grants, OriginGrant, Sandbox, SandboxSettings,
};

use super::provider;

/// The plugins, as built, each with what it may reach.
pub(super) async fn providers(
    patience: Duration,
    vault: &Arc<Vault>,
    signer: AwsSigner,
    reachable: &[SocketAddr],
) -> HashMap<ProviderId, Arc<dyn KeyProvider>> {
    let settings = SandboxSettings::default();
    let sandbox = Sandbox::new(settings, vault.clone(), Arc::new(SystemClock)).unwrap();
    let grants = |sign: bool| {
        let grant = |address: &SocketAddr, scheme: &str| {
            let grant = OriginGrant::parse(&format!("{scheme}://{address}")).unwrap();
            let grant = grant.with_private_addresses();
            if sign { grant.signed() } else { grant }
        };
        Grants {
            egress: Egress {
                origins: reachable
                    .iter()
                    .flat_map(|address| [grant(address, "http"), grant(address, "https")])
                    .collect(),
                aws: sign.then(|| signer.clone()),
                // What ends a call here is its deadline.
                limits: EgressLimits {
                    first_byte: patience,
                    total: patience,
                    ..EgressLimits::default()
                },
                ..Egress::default()
            },
            ..Grants::default()
        }
    };
    let mut providers: HashMap<ProviderId, Arc<dyn KeyProvider>> = HashMap::new();
    for (name, grants) in [
        ("managed", Grants::default()),
        ("lkm", grants(false)),
        ("aws-kms", grants(true)),
    ] {
        let id = provider(name);
        let admitted = sandbox
            .admit_with(id.clone(), plugin(name), None, grants)
            .await;
        providers.insert(id, Arc::new(admitted.unwrap()));
    }
    providers
}

/// A plugin, built by the cargo that built this test.
pub(crate) fn plugin(name: &str) -> &'static [u8] {
    static PLUGINS: OnceLock<HashMap<&str, Vec<u8>>> = OnceLock::new();
    let built = PLUGINS.get_or_init(|| {
        let names = ["managed", "lkm", "aws-kms"];
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--profile", "plugin", "--target", "wasm32-wasip2"]);
        for name in names {
            cargo.args(["--package", &format!("keyreel-plugin-{name}")]);
        }
        let output = cargo
            .args(["--message-format", "json", "--quiet"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("RUSTFLAGS")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the plugins do not build");
        let messages = String::from_utf8(output.stdout).unwrap();
        let component = |name: &str| {
            let file = format!("keyreel_plugin_{}.wasm", name.replace('-', "_"));
            let path = messages
                .lines()
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
                .filter_map(|message| message["filenames"].as_array().cloned())
                .flatten()
                .filter_map(|path| path.as_str().map(str::to_owned))
                .find(|path| path.ends_with(&file));
            std::fs::read(path.unwrap()).unwrap()
        };
        names.map(|name| (name, component(name))).into()
    });
    &built[name]
}
