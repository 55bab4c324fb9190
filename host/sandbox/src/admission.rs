//! Whether a file may be a plugin: cheap checks first, each refusal
//! saying what was expected and what was found.
//! Not for: a tenant's configuration (see `PluginProvider::validate`).

use keyreel_keys::ProviderDescription;
use wasmparser::{ComponentExternalKind, ComponentTypeRef, Encoding, Parser, Payload};
use wasmtime::{Engine, Precompiled};

use crate::bindings::exports::keyreel::key_provider::provider::Description;
use crate::error::AdmissionError;
use crate::settings::Limits;
use crate::text::sanitised;

/// The interfaces of the contract that the host offers, of [`CONTRACT`].
const OFFERED: [&str; 5] = ["types", "secrets", "sealed-keys", "session-cache", "log"];
const CONTRACT: &str = "keyreel:key-provider";
/// The contract's version, and the part of it that must be equal.
const CONTRACT_VERSION: &str = "0.1.1";
const CONTRACT_SERIES: &str = "0.1.";
/// The WASI that the host links: any version of this series.
const WASI_SERIES: &str = "0.2.";

/// `wasi:cli/imports`, which language runtimes import more of than they use, and outbound HTTP.
const WASI: &[(&str, &[&str])] = &[
    (
        "wasi:cli",
        &[
            "environment",
            "exit",
            "stderr",
            "stdin",
            "stdout",
            "terminal-input",
            "terminal-output",
            "terminal-stderr",
            "terminal-stdin",
            "terminal-stdout",
        ],
    ),
    ("wasi:clocks", &["monotonic-clock", "wall-clock"]),
    ("wasi:filesystem", &["preopens", "types"]),
    ("wasi:http", &["outgoing-handler", "types"]),
    ("wasi:io", &["error", "poll", "streams"]),
    ("wasi:random", &["insecure", "insecure-seed", "random"]),
    (
        "wasi:sockets",
        &[
            "instance-network",
            "ip-name-lookup",
            "network",
            "tcp",
            "tcp-create-socket",
            "udp",
            "udp-create-socket",
        ],
    ),
];

/// What its surface says of a component.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Surface {
    pub(crate) exports: Exports,
    /// It imports outbound HTTP.
    pub(crate) speaks_http: bool,
}

/// What it can do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Exports {
    /// It exports `provider`.
    Provider,
    /// It exports `key-admin` too: it mints KEKs.
    ProviderAndKeyAdmin,
}

/// Checks the digest against the pinned one.
pub(crate) fn check_digest(
    found: &[u8; 32],
    pinned: Option<[u8; 32]>,
) -> Result<(), AdmissionError> {
    match pinned {
        Some(expected) if expected != *found => Err(AdmissionError::Digest {
            expected: hex::encode(expected),
            found: hex::encode(found),
        }),
        _ => Ok(()),
    }
}

/// Looks at a component without compiling it.
pub(crate) fn survey(bytes: &[u8], limits: &Limits) -> Result<Surface, AdmissionError> {
    if bytes.len() > limits.component_bytes {
        let (limit, found) = (limits.component_bytes, bytes.len());
        return Err(AdmissionError::TooLarge { limit, found });
    }
    check_is_component(bytes)?;
    let (imports, exports) = names(bytes).map_err(|error| invalid(&error))?;
    check_imports(&imports)?;
    check_exports_provider(&exports)?;
    let speaks_http = imports
        .iter()
        .any(|(name, _)| name.starts_with("wasi:http/outgoing-handler@"));
    let exports = if has_export(&exports, "key-admin") {
        Exports::ProviderAndKeyAdmin
    } else {
        Exports::Provider
    };
    Ok(Surface {
        exports,
        speaks_http,
    })
}

/// `describe`'s answer, if it makes sense.
pub(crate) fn check_description(
    description: Description,
    mints_keks: bool,
) -> Result<ProviderDescription, AdmissionError> {
    for (field, text) in [
        ("name", &description.name),
        ("vendor", &description.vendor),
        ("version", &description.version),
    ] {
        if text.trim().is_empty() || *text != sanitised(text, 64) {
            return Err(wrong(field, "1 to 64 printable characters", text));
        }
    }
    if !(1..=16).contains(&description.algorithms.len()) {
        let found = format!("{} of them", description.algorithms.len());
        return Err(wrong("algorithms", "1 to 16 names", &found));
    }
    for algorithm in &description.algorithms {
        if !is_algorithm(algorithm) {
            let expected = "\"rsa-oaep-sha256\", \"hpke-mlkem1024-p384\", \"rsa-oaep-sha1\" or \
                            \"x-<vendor>-…\" of a-z 0-9 -";
            return Err(wrong("algorithms", expected, algorithm));
        }
    }
    let schema = serde_json::from_str::<serde_json::Value>(&description.config_schema);
    if description.config_schema.len() > 64 << 10 || !schema.is_ok_and(|schema| schema.is_object())
    {
        let expected = "a JSON Schema, an object, of at most 64 KiB";
        return Err(wrong("config-schema", expected, &description.config_schema));
    }
    if description.secrets.len() > 32 {
        let found = format!("{} of them", description.secrets.len());
        return Err(wrong("secrets", "at most 32 names", &found));
    }
    for secret in &description.secrets {
        if !is_secret_name(secret) {
            let expected = "1 to 64 of a-z 0-9 - (private keys, \"kek/…\", are not listed)";
            return Err(wrong("secrets", expected, secret));
        }
    }
    Ok(ProviderDescription {
        name: description.name,
        vendor: description.vendor,
        version: description.version,
        algorithms: description.algorithms,
        config_schema: description.config_schema,
        secrets: description.secrets,
        mints_keks,
    })
}

fn check_is_component(bytes: &[u8]) -> Result<(), AdmissionError> {
    let found = match Engine::detect_precompiled(bytes) {
        Some(Precompiled::Component | Precompiled::Module) => {
            "a precompiled artefact of wasmtime: machine code is never accepted; give the \
             component that it was compiled from"
        }
        None if Parser::is_component(bytes) => return Ok(()),
        None if Parser::is_core_wasm(bytes) => {
            "a core module: build for wasm32-wasip2, or wrap it with `wasm-tools component new`"
        }
        None if bytes.starts_with(b"(component") || bytes.starts_with(b"(module") => {
            "WebAssembly text: give the binary"
        }
        None if bytes.starts_with(b"\x7fELF") => {
            "an ELF file, which may be native code or an artefact of wasmtime: give the component \
             that it was compiled from"
        }
        None => "something else: it does not begin as WebAssembly does",
    };
    Err(AdmissionError::NotAComponent {
        found: found.to_owned(),
    })
}

/// The names of imports and exports of the outermost component, with what they are.
type Names = (Vec<(String, &'static str)>, Vec<(String, &'static str)>);

fn names(bytes: &[u8]) -> wasmparser::Result<Names> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version {
                encoding: Encoding::Component | Encoding::Module,
                ..
            } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    let import = import?;
                    imports.push((import.name.name.to_owned(), kind_of_type(import.ty)));
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let export = export?;
                    exports.push((export.name.name.to_owned(), kind_of_export(export.kind)));
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn check_imports(imports: &[(String, &'static str)]) -> Result<(), AdmissionError> {
    let unknown: Vec<String> = imports
        .iter()
        .filter_map(|(name, kind)| objection(name, kind))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(AdmissionError::UnknownImports { imports: unknown })
}

/// What is wrong with an import, in words.
fn objection(name: &str, kind: &str) -> Option<String> {
    let shown = sanitised(name, 100);
    if kind != "an interface" {
        return Some(format!("{shown:?}: expected interfaces only, found {kind}"));
    }
    let (interface, version) = name.split_once('@').unwrap_or((name, "none"));
    let (package, interface) = interface.split_once('/').unwrap_or((interface, ""));
    if package == CONTRACT {
        if !OFFERED.contains(&interface) {
            let offered = OFFERED.join(", ");
            return Some(format!(
                "{shown}: expected one of {offered}, found {interface:?}"
            ));
        }
        return (!version.starts_with(CONTRACT_SERIES))
            .then(|| format!("{shown}: expected version {CONTRACT_SERIES}x, found {version}"));
    }
    let known = WASI.iter().find(|(known, _)| *known == package);
    match (package, known) {
        (_, Some((_, interfaces))) if interfaces.contains(&interface) => (!version
            .starts_with(WASI_SERIES))
        .then(|| format!("{shown}: expected version {WASI_SERIES}x (WASI 0.2), found {version}")),
        (_, Some((_, interfaces))) => {
            let offered = interfaces.join(", ");
            Some(format!(
                "{shown}: expected one of {offered}, found {interface:?}"
            ))
        }
        _ => Some(format!(
            "{shown}: expected an interface of {CONTRACT}@{CONTRACT_VERSION} or of \
             wasi:cli/imports@0.2, found package {package:?}"
        )),
    }
}

fn check_exports_provider(exports: &[(String, &'static str)]) -> Result<(), AdmissionError> {
    if has_export(exports, "provider") {
        return Ok(());
    }
    let names: Vec<&str> = exports.iter().map(|(name, _)| name.as_str()).collect();
    let other_version = names
        .iter()
        .find(|name| name.starts_with("keyreel:key-provider/provider@"));
    let found = match other_version {
        Some(name) => format!("{} (another version of the contract)", sanitised(name, 100)),
        None if names.iter().any(|name| name.starts_with("wasi:cli/run")) => {
            "a command (wasi:cli/run): build a library that exports the provider".to_owned()
        }
        None if names.is_empty() => "no exports at all".to_owned(),
        None => sanitised(&names.join(", "), 300),
    };
    let expected = format!("{CONTRACT}/provider@{CONTRACT_VERSION}");
    Err(AdmissionError::NoProvider { expected, found })
}

fn has_export(exports: &[(String, &'static str)], interface: &str) -> bool {
    let prefix = format!("{CONTRACT}/{interface}@{CONTRACT_SERIES}");
    exports
        .iter()
        .any(|(name, kind)| *kind == "an interface" && name.starts_with(&prefix))
}

fn kind_of_type(ty: ComponentTypeRef) -> &'static str {
    match ty {
        ComponentTypeRef::Instance(_) => "an interface",
        ComponentTypeRef::Func(_) => "a function",
        ComponentTypeRef::Module(_) => "a core module",
        ComponentTypeRef::Component(_) => "a component",
        ComponentTypeRef::Type(_) => "a type",
        ComponentTypeRef::Value(_) => "a value",
    }
}

fn kind_of_export(kind: ComponentExternalKind) -> &'static str {
    match kind {
        ComponentExternalKind::Instance => "an interface",
        ComponentExternalKind::Func => "a function",
        ComponentExternalKind::Module => "a core module",
        ComponentExternalKind::Component => "a component",
        ComponentExternalKind::Type => "a type",
        ComponentExternalKind::Value => "a value",
    }
}

fn invalid(error: &wasmparser::BinaryReaderError) -> AdmissionError {
    AdmissionError::Invalid {
        message: sanitised(&error.to_string(), 300),
    }
}

fn wrong(field: &'static str, expected: &str, found: &str) -> AdmissionError {
    let found = format!("{:?}", sanitised(found, 100));
    AdmissionError::Description {
        field,
        expected: expected.to_owned(),
        found,
    }
}

fn is_algorithm(name: &str) -> bool {
    keyreel_format::WrapAlgorithm::parse(name).is_ok()
        || name.strip_prefix("x-").is_some_and(|rest| {
            (1..=62).contains(&rest.len()) && rest.bytes().all(is_lower_or_dash)
        })
}

fn is_secret_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(is_lower_or_dash)
}

fn is_lower_or_dash(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}
