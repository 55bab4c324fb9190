//! The file that `keyreel keys apply` reads: tenants, each with its policy, key service, key pair
//! and rotation schedule. Strict: what is not known here is an error that says where and what is.
//! A secret is never in it, only where it is to be found; no message quotes what the file says in
//! a secret's place.
//! Not for: what is in the catalogue already (see `plan`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use keyreel_keys::{Keyring, Policy, ProviderDescription, ProviderId, TenantId};
use keyreel_library::RotationPeriod;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use toml::Spanned;
use zeroize::Zeroizing;

use crate::keys::Period;
use crate::output::Usage;

/// The file, read. Its secrets were not looked up yet.
pub(crate) struct File {
    place: Places,
    document: Document,
}

/// What the file wants of one tenant. What it does not name is left as it is.
pub(crate) struct Wanted {
    pub(crate) tenant: TenantId,
    pub(crate) name: Option<String>,
    pub(crate) policy: Option<Policy>,
    pub(crate) rotation: Option<Option<RotationPeriod>>,
    pub(crate) service: Option<Service>,
    /// Where the file says so.
    at: usize,
}

/// A key service, and the owner's key pair that is to be used with it.
pub(crate) struct Service {
    pub(crate) provider: ProviderId,
    pub(crate) configuration: Map<String, Value>,
    pub(crate) secrets: BTreeMap<String, Zeroizing<Vec<u8>>>,
    /// Where the private keys stay with their owner; `None` where the provider makes them.
    pub(crate) key_pair: Option<KeyPair>,
}

/// An owner's key pair.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyPair {
    /// What its key service calls it: a UUID.
    pub(crate) id: String,
    /// Base64 of PKCS#1 or SubjectPublicKeyInfo, DER; or PEM.
    pub(crate) public_key: String,
}

/// Tells where in the file something is.
struct Places {
    path: PathBuf,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    tenants: BTreeMap<Spanned<String>, TenantTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantTable {
    name: Option<String>,
    policy: Option<Policy>,
    rotation: Option<Period>,
    key_service: Option<ServiceTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceTable {
    provider: Spanned<String>,
    #[serde(default)]
    configuration: BTreeMap<Spanned<String>, toml::Value>,
    #[serde(default, deserialize_with = "secrets")]
    secrets: BTreeMap<Spanned<String>, Reference>,
    key_pair: Option<KeyPair>,
}

/// Where a secret is to be found.
enum Reference {
    /// In a file, without the line's end that editors leave.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

impl File {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It cannot be read, or something in it is unknown, missing or of the wrong kind; with the
    /// line, and what is allowed.
    pub(crate) fn read(path: &Path) -> Result<Self, Usage> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Usage::new(format!("cannot read {}: {source}", path.display())))?;
        let place = Places {
            path: path.to_owned(),
            text,
        };
        // Not its `Display`: that quotes the line, and the line may hold a secret after all.
        let document = toml::from_str(&place.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            place.wrong(at, error.message())
        })?;
        Ok(Self { place, document })
    }

    /// What it wants, checked against the plugins that there are, with the secrets looked up.
    ///
    /// # Errors
    /// It names a plugin, a setting or a secret that is not known, or a secret that is not to be
    /// found.
    pub(crate) fn wanted(&self, keyring: &Keyring) -> Result<Vec<Wanted>, Usage> {
        let tenants = self.document.tenants.iter();
        tenants
            .map(|(id, table)| self.tenant(id, table, keyring))
            .collect()
    }

    /// An error of the file's, where it speaks of this tenant.
    pub(crate) fn wrong(&self, wanted: &Wanted, message: impl fmt::Display) -> Usage {
        self.place.wrong(wanted.at, message)
    }

    fn tenant(
        &self,
        id: &Spanned<String>,
        table: &TenantTable,
        keyring: &Keyring,
    ) -> Result<Wanted, Usage> {
        let wrong = |error: &dyn fmt::Display| self.place.wrong(id.span().start, error);
        let tenant = TenantId::parse(id.get_ref())
            .map_err(|error| wrong(&format!("the tenant {:?}: {error}", id.get_ref())))?;
        let service = table.key_service.as_ref();
        let service = service.map(|service| self.service(service, keyring));
        Ok(Wanted {
            tenant,
            name: table.name.clone(),
            policy: table.policy,
            rotation: table.rotation.map(Period::period),
            at: table
                .key_service
                .as_ref()
                .map_or(id.span().start, |service| service.provider.span().start),
            service: service.transpose()?,
        })
    }

    fn service(&self, table: &ServiceTable, keyring: &Keyring) -> Result<Service, Usage> {
        let named = &table.provider;
        let mut plugins: Vec<_> = keyring.providers().collect();
        plugins.sort_by_key(|(id, _)| *id);
        let plugin = plugins
            .iter()
            .find(|(id, _)| id.as_str() == named.get_ref());
        let Some((provider, plugin)) = plugin else {
            let known: Vec<_> = plugins.iter().map(|(id, _)| id.as_str()).collect();
            let message = format!("no plugin {:?}: {}", named.get_ref(), one_of(&known));
            return Err(self.place.wrong(named.span().start, message));
        };
        let at = named.span().start;
        match (&table.key_pair, plugin.mints_keks) {
            (Some(_), true) => {
                let message = format!("key_pair: the provider {provider} makes its key pairs");
                return Err(self.place.wrong(at, message));
            }
            (None, false) => {
                let message = format!(
                    "the provider {provider} makes no key pairs: expected key_pair, with the id \
                     and the public_key of one of its owner's"
                );
                return Err(self.place.wrong(at, message));
            }
            _ => {}
        }
        Ok(Service {
            provider: (*provider).clone(),
            configuration: self.configuration(table, plugin)?,
            secrets: self.secrets(table, plugin)?,
            key_pair: table.key_pair.clone(),
        })
    }

    fn configuration(
        &self,
        table: &ServiceTable,
        plugin: &ProviderDescription,
    ) -> Result<Map<String, Value>, Usage> {
        let schema: Value = serde_json::from_str(&plugin.config_schema).unwrap_or_default();
        let known = schema.get("properties").and_then(Value::as_object);
        let known: Vec<_> = known.into_iter().flatten().map(|(name, _)| name).collect();
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        let mut json = Map::new();
        for (name, value) in &table.configuration {
            let at = name.span().start;
            let name = name.get_ref();
            if closed && !known.contains(&name) {
                let message = format!("unknown setting `{name}`: {}", one_of(&known));
                return Err(self.place.wrong(at, message));
            }
            let value = json_of(value).ok_or_else(|| {
                let message = format!("{name}: neither dates nor infinite numbers are settings");
                self.place.wrong(at, message)
            })?;
            json.insert(name.clone(), value);
        }
        let required = schema.get("required").and_then(Value::as_array);
        let mut required = required.into_iter().flatten().filter_map(Value::as_str);
        if let Some(missing) = required.find(|name| !json.contains_key(*name)) {
            let at = table.provider.span().start;
            let message = format!("configuration: missing setting `{missing}`");
            return Err(self.place.wrong(at, message));
        }
        Ok(json)
    }

    fn secrets(
        &self,
        table: &ServiceTable,
        plugin: &ProviderDescription,
    ) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, Usage> {
        let mut found = BTreeMap::new();
        for (name, reference) in &table.secrets {
            let at = name.span().start;
            let name = name.get_ref();
            if !plugin.secrets.contains(name) {
                let known: Vec<_> = plugin.secrets.iter().collect();
                let message = format!("unknown secret `{name}`: {}", one_of(&known));
                return Err(self.place.wrong(at, message));
            }
            let folder = self.place.path.parent().unwrap_or(Path::new(""));
            let secret = reference
                .resolve(folder)
                .map_err(|why| self.place.wrong(at, format!("the secret {name}: {why}")))?;
            found.insert(name.clone(), secret);
        }
        Ok(found)
    }
}

impl Places {
    /// An error at a byte of the file.
    fn wrong(&self, at: usize, message: impl fmt::Display) -> Usage {
        let before = self.text.as_bytes().get(..at).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Usage::new(format!("{}:{line}: {message}", self.path.display()))
    }
}

impl Reference {
    /// The secret.
    fn resolve(&self, folder: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut secret = match self {
            Self::File(path) => {
                let path = folder.join(path);
                let read = std::fs::read(&path);
                let read = read.map_err(|source| format!("{}: {source}", path.display()))?;
                Zeroizing::new(read)
            }
            Self::Env(name) => {
                let set = std::env::var_os(name);
                let set = set.ok_or_else(|| format!("the variable {name} is not set"))?;
                Zeroizing::new(set.into_encoded_bytes())
            }
        };
        if secret.last() == Some(&b'\n') {
            secret.pop();
        }
        if secret.last() == Some(&b'\r') {
            secret.pop();
        }
        if secret.is_empty() {
            return Err("it is empty".to_owned());
        }
        Ok(secret)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Unquoted(
            "expected { file = \"…\" } or { env = \"…\" }: a secret itself is never written here",
            |table: ReferenceTable| match (table.file, table.env) {
                (Some(file), None) => Some(Self::File(file)),
                (None, Some(env)) => Some(Self::Env(env)),
                _ => None,
            },
        ))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceTable {
    file: Option<PathBuf>,
    env: Option<String>,
}

fn secrets<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<Spanned<String>, Reference>, D::Error> {
    from.deserialize_any(Unquoted("expected a table of secrets by name", Some))
}

/// A table, where whatever else stands there is not repeated in the error: it may be a secret.
struct Unquoted<T, U>(&'static str, fn(T) -> Option<U>);

impl<'de, T: Deserialize<'de>, U> Visitor<'de> for Unquoted<T, U> {
    type Value = U;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<U, A::Error> {
        let table = T::deserialize(MapAccessDeserializer::new(map))?;
        (self.1)(table).ok_or_else(|| A::Error::custom(self.0))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<U, E> {
        Err(E::custom(self.0))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<U, E> {
        Err(E::custom(self.0))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<U, E> {
        Err(E::custom(self.0))
    }
}

/// A value as JSON; `None` for what JSON has no word for.
fn json_of(value: &toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(*number)?.into(),
        toml::Value::Boolean(flag) => (*flag).into(),
        toml::Value::Datetime(_) => return None,
        toml::Value::Array(items) => items
            .iter()
            .map(json_of)
            .collect::<Option<Vec<_>>>()?
            .into(),
        toml::Value::Table(table) => {
            let fields = table
                .iter()
                .map(|(name, value)| Some((name.clone(), json_of(value)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
    })
}

fn one_of(known: &[impl fmt::Display]) -> String {
    let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    match known.as_slice() {
        [] => "there are none".to_owned(),
        known => format!("expected one of {}", known.join(", ")),
    }
}
