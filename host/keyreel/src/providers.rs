//! `[providers.<id>]`: the plugins, and what the operator lets each of them reach. Three are built
//! in; others come from files, pinned by their digest.
//! Not for: a tenant's own settings: those are registered through the API.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use keyreel_keys::{KeyProvider, KeyringSettings, ProviderId, RECOVERY};
use keyreel_sandbox::{
    AwsSigner, Egress, Grants, OriginGrant, PluginProvider, Roots, Sandbox, Tls, TlsVersion,
};

use crate::output::Usage;
use crate::settings::EgressSettings;

/// The provider that every installation has.
pub(crate) const MANAGED: &str = "managed";
/// A customer's Local Key Manager.
pub(crate) const LKM: &str = "lkm";
/// AWS KMS.
pub(crate) const AWS_KMS: &str = "aws-kms";

/// A plugin inside this program.
struct BuiltIn {
    id: &'static str,
    component: &'static [u8],
    /// What it may reach unless the operator says otherwise: public addresses only.
    origins: &'static [&'static str],
    sign: Sign,
}

macro_rules! component {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm"))
    };
}

const BUILT_IN: [BuiltIn; 3] = [
    BuiltIn {
        id: MANAGED,
        component: component!("managed"),
        origins: &[],
        sign: Sign::No,
    },
    BuiltIn {
        id: LKM,
        component: component!("lkm"),
        origins: &["https://*:*"],
        sign: Sign::No,
    },
    BuiltIn {
        id: AWS_KMS,
        component: component!("aws-kms"),
        origins: &[
            "https://kms.*.amazonaws.com",
            "https://kms-fips.*.amazonaws.com",
            "https://kms.*.amazonaws.com.cn",
        ],
        sign: Sign::AwsSigV4,
    },
];

/// One plugin, and what it may reach. The ids `managed`, `lkm` and `aws-kms` are those of the
/// built-in plugins; any other id is a plugin from a file.
#[derive(
    Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ProviderSettings {
    /// The plugin's file, a WebAssembly component. Not for built-in plugins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) component: Option<PathBuf>,
    /// The SHA-256 of that file, 64 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
    /// Origins that it may reach at public addresses: `https://keys.example.com`,
    /// `https://*.example.com`, `https://*:*`. In the place of a built-in plugin's own: lkm may
    /// reach every public HTTPS origin, aws-kms those of AWS KMS, managed none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) origins: Option<Vec<String>>,
    /// Origins that it may reach at private, loopback and link-local addresses too, plain
    /// `http://` included.
    pub(crate) private_origins: Vec<String>,
    /// Names of secrets whose bytes it may read; all others it names only.
    pub(crate) reveal: BTreeSet<String>,
    /// Certificate authorities that it trusts besides the operating system's: a file, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
    /// The oldest version of TLS that is spoken.
    pub(crate) tls: OldestTls,
    /// Who signs its requests; for aws-kms this server does unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sign: Option<Sign>,
    /// How much it may send and be answered.
    pub(crate) limits: EgressSettings,
}

/// Who signs a plugin's requests.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub(crate) enum Sign {
    /// Nobody, or the plugin itself with secrets that it names.
    #[serde(rename = "no")]
    No,
    /// This server, with the credentials that the standard AWS chain gives it, and all of them.
    #[serde(rename = "aws-sigv4")]
    AwsSigV4,
}

/// The oldest version of TLS that is spoken to key services.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub(crate) enum OldestTls {
    /// TLS 1.2, and 1.3.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3 alone.
    #[serde(rename = "1.3")]
    V1_3,
}

/// What a command adds to the settings.
#[derive(Default)]
pub(crate) struct Extra {
    /// Origins for every plugin, private addresses included.
    pub(crate) allow_origins: Vec<String>,
    /// Credentials in the standard chain's place.
    pub(crate) aws: Option<AwsSigner>,
}

impl ProviderSettings {
    /// Paths count from `folder`.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        for path in [&mut self.component, &mut self.ca_file]
            .into_iter()
            .flatten()
        {
            *path = folder.join(&*path);
        }
    }
}

/// Whether the settings of all plugins make sense. No file is read.
///
/// # Errors
/// What is wrong.
pub(crate) fn check(
    settings: &BTreeMap<String, ProviderSettings>,
    keyring: &KeyringSettings,
) -> anyhow::Result<()> {
    let extra = Extra::default();
    for (id, of) in settings {
        let built_in = BUILT_IN.iter().find(|plugin| plugin.id == id);
        section(
            id,
            grants(of, built_in, keyring, &extra, Files::Leave).map(drop),
        )?;
        section(id, vendor(id, of, built_in).map(drop))?;
    }
    Ok(())
}

/// All plugins, admitted.
///
/// # Errors
/// A setting makes no sense, or a plugin cannot be admitted.
pub(crate) async fn admit(
    sandbox: &Sandbox,
    settings: &BTreeMap<String, ProviderSettings>,
    keyring: &KeyringSettings,
    extra: &Extra,
) -> anyhow::Result<HashMap<ProviderId, Arc<dyn KeyProvider>>> {
    let mut plugins = Vec::new();
    let none = ProviderSettings::default();
    for built_in in &BUILT_IN {
        let of = settings.get(built_in.id).unwrap_or(&none);
        section(
            built_in.id,
            vendor(built_in.id, of, Some(built_in)).map(drop),
        )?;
        let grants = section(
            built_in.id,
            grants(of, Some(built_in), keyring, extra, Files::Read),
        )?;
        let id = ProviderId::parse(built_in.id)?;
        plugins.push((id, built_in.component.to_vec(), None, grants));
    }
    for (id, of) in settings {
        if let Some(file) = section(id, vendor(id, of, built_in(id)))? {
            let component = std::fs::read(file.path)
                .with_context(|| format!("[providers.{id}] component {}", file.path.display()))?;
            let grants = section(id, grants(of, None, keyring, extra, Files::Read))?;
            plugins.push((file.id, component, Some(file.sha256), grants));
        }
    }
    // Side by side: a start waits for the slowest one, not for all.
    let admitted = plugins
        .into_iter()
        .map(|(id, component, sha256, grants)| async move {
            let admitted: PluginProvider = sandbox
                .admit_with(id.clone(), &component, sha256, grants)
                .await
                .with_context(|| format!("the plugin {id}"))?;
            Ok((id, Arc::new(admitted) as Arc<dyn KeyProvider>))
        });
    let admitted = futures::future::join_all(admitted).await;
    admitted.into_iter().collect()
}

fn built_in(id: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|plugin| plugin.id == id)
}

/// A plugin from a file.
struct Vendor<'a> {
    id: ProviderId,
    path: &'a Path,
    sha256: [u8; 32],
}

fn vendor<'a>(
    id: &str,
    of: &'a ProviderSettings,
    built_in: Option<&BuiltIn>,
) -> anyhow::Result<Option<Vendor<'a>>> {
    match (built_in, &of.component, &of.sha256) {
        (Some(_), None, None) => Ok(None),
        (Some(_), ..) => {
            anyhow::bail!("it is built in: neither `component` nor `sha256` belong here")
        }
        (None, ..) if id == RECOVERY => {
            anyhow::bail!("headers name recovery keys by this id: a plugin needs another")
        }
        (None, Some(path), Some(digits)) => {
            let mut sha256 = [0; 32];
            hex::decode_to_slice(digits.trim(), &mut sha256)
                .context("sha256: expected 64 hexadecimal digits")?;
            let id = ProviderId::parse(id)?;
            Ok(Some(Vendor { id, path, sha256 }))
        }
        (None, ..) => anyhow::bail!(
            "a plugin that is not built in needs `component`, its file, and `sha256`, that file's \
             digest"
        ),
    }
}

/// Whether files that settings name are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    Read,
    Leave,
}

fn grants(
    of: &ProviderSettings,
    built_in: Option<&BuiltIn>,
    keyring: &KeyringSettings,
    extra: &Extra,
    files: Files,
) -> anyhow::Result<Grants> {
    of.limits
        .check()
        .map_err(|error| anyhow::anyhow!("limits: {error}"))?;
    let sign = of.sign.or(built_in.map(|plugin| plugin.sign)) == Some(Sign::AwsSigV4);
    let own = built_in.map_or(&[][..], |plugin| plugin.origins);
    let own: Vec<String> = own.iter().map(|origin| (*origin).to_owned()).collect();
    let public = of.origins.as_ref().unwrap_or(&own);
    let private = extra.allow_origins.iter().chain(&of.private_origins);
    let mut origins = Vec::new();
    // The first that fits decides: what is said exactly comes before what is said of many.
    for text in private {
        origins.push(OriginGrant::parse(text)?.with_private_addresses());
    }
    for text in public {
        origins.push(OriginGrant::parse(text)?);
    }
    if sign {
        origins = origins.into_iter().map(OriginGrant::signed).collect();
    }
    let aws = sign.then(|| extra.aws.clone().unwrap_or_else(AwsSigner::standard_chain));
    let roots = match &of.ca_file {
        Some(file) if files == Files::Read => Roots::SystemAndFile(file.clone()),
        _ => Roots::System,
    };
    let oldest = match of.tls {
        OldestTls::V1_2 => TlsVersion::V1_2,
        OldestTls::V1_3 => TlsVersion::V1_3,
    };
    Ok(Grants {
        reveal: of.reveal.clone(),
        egress: Egress {
            origins,
            aws,
            tls: Tls::new(&roots, oldest)?,
            limits: of.limits.limits(keyring),
            ..Egress::default()
        },
    })
}

/// Says of which section an error is; whoever wrote it mends it.
fn section<T>(id: &str, result: anyhow::Result<T>) -> anyhow::Result<T> {
    result.map_err(|error| Usage::new(format!("[providers.{id}] {error:#}")).into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn settings(text: &str) -> BTreeMap<String, ProviderSettings> {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn settings_that_make_sense() {
        let text = r#"
            [lkm]
            private_origins = ["https://keys.internal:8443", "http://127.0.0.1:9000"]
            tls = "1.3"
            [aws-kms]
            origins = ["https://vpce-1-kms.eu-central-1.vpce.amazonaws.com"]
            [acme-hsm]
            component = "acme.wasm"
            sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            origins = ["https://*.acme.example"]
            reveal = ["token"]
            [acme-hsm.limits]
            connect_ms = 500
            answer_kib = 64
        "#;
        let keyring = KeyringSettings::default();
        check(&settings(text), &keyring).unwrap();
        check(&BTreeMap::new(), &keyring).unwrap();
    }

    #[test]
    fn settings_that_do_not() {
        let table = [
            ("[lkm]\ncomponent = 'x.wasm'", "built in"),
            (
                "[acme]\norigins = ['https://a.example']",
                "needs `component`",
            ),
            ("[acme]\ncomponent = 'x.wasm'", "needs `component`"),
            (
                "[recovery]\ncomponent = 'x.wasm'\nsha256 = 'abc'",
                "[providers.recovery] headers name recovery keys by this id",
            ),
            (
                "[acme]\ncomponent = 'x.wasm'\nsha256 = 'abc'",
                "64 hexadecimal digits",
            ),
            ("[lkm]\norigins = ['http://*']", "[providers.lkm]"),
            ("[lkm]\nprivate_origins = ['ftp://x']", "[providers.lkm]"),
            (
                "[lkm.limits]\nrequests = 0",
                "[providers.lkm] limits: requests is 0: expected 1 to 1000",
            ),
        ];
        for (text, expected) in table {
            let error = check(&settings(text), &KeyringSettings::default())
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(
            toml::from_str::<BTreeMap<String, ProviderSettings>>("[lkm]\norigin = []").is_err()
        );
    }

    #[test]
    fn built_in_grants_parse_and_what_a_command_allows_comes_first() {
        let extra = Extra {
            allow_origins: vec!["http://127.0.0.1:9000".to_owned()],
            aws: None,
        };
        let mut keyring = KeyringSettings::default();
        keyring.unwrap_limit = Duration::from_secs(25);
        keyring.mint_limit = Duration::from_secs(20);
        let none: ProviderSettings = toml::from_str("limits.requests = 3").unwrap();
        for plugin in &BUILT_IN {
            let grants = grants(&none, Some(plugin), &keyring, &extra, Files::Leave).unwrap();
            let limits = &grants.egress.limits;
            assert_eq!((limits.requests, limits.first_byte.as_secs()), (3, 25));
            let signs = plugin.sign == Sign::AwsSigV4;
            assert_eq!(grants.egress.aws.is_some(), signs, "{}", plugin.id);
            let expected = OriginGrant::parse("http://127.0.0.1:9000").unwrap();
            let expected = expected.with_private_addresses();
            let expected = if signs { expected.signed() } else { expected };
            assert_eq!(
                grants.egress.origins.first(),
                Some(&expected),
                "{}",
                plugin.id
            );
            assert_eq!(grants.egress.origins.len(), plugin.origins.len() + 1);
        }
    }
}
