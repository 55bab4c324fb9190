//! What may be decrypted, and how often: a file of the operator's, read again when it changes.
//!
//! ```toml
//! per_minute = 6000                  # decrypts per key pair; default 6000
//! allow_all = true                   # in place of rules: everything that is signed
//!
//! [[allow]]                          # a decrypt must fit one of these,
//! recordings = ["4f0c…", "2026-*"]   # and its recording must be signed along (Hawk's ext)
//! pairs = ["…"]                      # default all
//! credentials = ["keyreel-…"]        # default all
//! ```
//!
//! A file that says neither is refused: half a file must not allow more than the whole one.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::Error;
use crate::store::Stamp;

const PER_MINUTE: u32 = 6000;

/// As it is written.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Policy {
    #[serde(default = "per_minute")]
    per_minute: u32,
    #[serde(default)]
    allow_all: bool,
    #[serde(default)]
    allow: Vec<Rule>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    recordings: Vec<String>,
    pairs: Option<Vec<Uuid>>,
    credentials: Option<Vec<String>>,
}

fn per_minute() -> u32 {
    PER_MINUTE
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            per_minute: PER_MINUTE,
            allow_all: true,
            allow: Vec::new(),
        }
    }
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forbidden {
    /// The policy goes by recording, and none was named under the signature.
    NoRecording,
    /// No rule allows it.
    NoRule,
}

impl Policy {
    fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::file(path, source))?;
        let policy = |message: String| Error::Policy {
            path: path.to_owned(),
            message,
        };
        let parsed: Self = toml::from_str(&text).map_err(|source| policy(source.to_string()))?;
        if parsed.per_minute == 0 {
            return Err(policy(
                "per_minute must be at least 1; disable the key pair instead".to_owned(),
            ));
        }
        match (parsed.allow_all, parsed.allow.is_empty()) {
            (true, true) | (false, false) => Ok(parsed),
            (false, true) => Err(policy(
                "it allows nothing: add [[allow]], or allow_all = true if everything that is \
                 signed may be decrypted"
                    .to_owned(),
            )),
            (true, false) => Err(policy(
                "allow_all = true and [[allow]] contradict each other".to_owned(),
            )),
        }
    }

    pub(crate) fn check(
        &self,
        credential: &str,
        pair: Uuid,
        recording: Option<&str>,
    ) -> Result<(), Forbidden> {
        if self.allow_all {
            return Ok(());
        }
        let recording = recording.ok_or(Forbidden::NoRecording)?;
        let allowed = self.allow.iter().any(|rule| {
            rule.pairs
                .as_ref()
                .is_none_or(|pairs| pairs.contains(&pair))
                && rule
                    .credentials
                    .as_ref()
                    .is_none_or(|ids| ids.iter().any(|id| id == credential))
                && rule
                    .recordings
                    .iter()
                    .any(|pattern| fits(pattern, recording))
        });
        if allowed {
            Ok(())
        } else {
            Err(Forbidden::NoRule)
        }
    }
}

/// `*` stands for any characters, none included.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The newest policy, and how much of its rates is used.
pub(crate) struct Watch {
    path: Option<PathBuf>,
    newest: Mutex<(Option<Stamp>, Arc<Policy>)>,
    /// Per pair: what may be spent, in thousandths of a decrypt, and when that was true.
    buckets: Mutex<HashMap<Uuid, (u64, u64)>>,
}

impl Watch {
    pub(crate) fn new(path: Option<PathBuf>) -> Result<Self, Error> {
        let newest = match &path {
            // The stamp first: what changes in between is read again.
            Some(path) => (Stamp::of(path)?, Arc::new(Policy::read(path)?)),
            None => (None, Arc::default()),
        };
        Ok(Self {
            path,
            newest: Mutex::new(newest),
            buckets: Mutex::default(),
        })
    }

    /// Fails where the file is there no more or is wrong: then nothing is decrypted.
    pub(crate) fn policy(&self) -> Result<Arc<Policy>, Error> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = &self.path {
            let now = Stamp::of(path)?;
            if now.is_none() || now != newest.0 {
                newest.1 = Arc::new(Policy::read(path)?);
                newest.0 = now;
                tracing::info!("the policy was read again");
            }
        }
        Ok(Arc::clone(&newest.1))
    }

    /// Takes one decrypt out of the pair's minute; otherwise says in how many seconds there is one.
    pub(crate) fn spend(&self, policy: &Policy, pair: Uuid, now_ms: u64) -> Result<(), u32> {
        const ONE: u64 = 60_000;
        let per_minute = u64::from(policy.per_minute);
        let full = per_minute * ONE;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, then) = buckets.entry(pair).or_insert((full, now_ms));
        // A decrypt costs 60,000; each millisecond brings `per_minute`.
        let gained = now_ms.saturating_sub(*then).saturating_mul(per_minute);
        *left = left.saturating_add(gained).min(full);
        *then = now_ms;
        match left.checked_sub(ONE) {
            Some(rest) => {
                *left = rest;
                Ok(())
            }
            None => {
                let wait_ms = (ONE - *left).div_ceil(per_minute);
                Err(u32::try_from(wait_ms.div_ceil(1000)).unwrap_or(60).max(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*a", "a", false),
            ("a*b*c", "axbyc", true),
            ("a*b*c", "axcyb", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn allows_what_a_rule_names() {
        let pair = Uuid::from_u128(1);
        let policy: Policy = toml::from_str(&format!(
            "[[allow]]\nrecordings = [\"r-*\"]\npairs = [\"{pair}\"]\ncredentials = [\"acme\"]\n"
        ))
        .unwrap();
        assert_eq!(policy.check("acme", pair, Some("r-1")), Ok(()));
        assert_eq!(
            policy.check("acme", pair, None),
            Err(Forbidden::NoRecording)
        );
        for (credential, pair, recording) in [
            ("acme", pair, "s-1"),
            ("other", pair, "r-1"),
            ("acme", Uuid::from_u128(2), "r-1"),
        ] {
            let answer = policy.check(credential, pair, Some(recording));
            assert_eq!(answer, Err(Forbidden::NoRule));
        }
        assert_eq!(Policy::default().check("x", pair, None), Ok(()));
        let all: Policy = toml::from_str("allow_all = true").unwrap();
        assert_eq!(all.check("x", pair, None), Ok(()));
    }

    #[test]
    fn spends_a_minute_and_earns_it_back() {
        let watch = Watch::new(None).unwrap();
        let policy: Policy = toml::from_str("per_minute = 2").unwrap();
        let pair = Uuid::from_u128(1);
        assert_eq!(watch.spend(&policy, pair, 0), Ok(()));
        assert_eq!(watch.spend(&policy, pair, 0), Ok(()));
        assert_eq!(watch.spend(&policy, pair, 0), Err(30));
        assert_eq!(watch.spend(&policy, Uuid::from_u128(2), 0), Ok(()));
        assert_eq!(watch.spend(&policy, pair, 29_000), Err(1));
        assert_eq!(watch.spend(&policy, pair, 30_000), Ok(()));
    }

    #[test]
    fn is_read_again_and_nothing_is_allowed_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        assert!(Watch::new(Some(path.clone())).is_err());
        // All of one second: a copy with its times, an editor on a coarse file system.
        let write = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            let second = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1);
            file.set_modified(second).unwrap();
        };
        write("allow_all = true\nper_minute = 1");
        let watch = Watch::new(Some(path.clone())).unwrap();
        assert_eq!(watch.policy().unwrap().per_minute, 1);
        write("allow_all = true\nper_minute = 17");
        assert_eq!(watch.policy().unwrap().per_minute, 17);
        // The same length and time, another file.
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        write("allow_all = true\nper_minute = 18");
        assert_eq!(watch.policy().unwrap().per_minute, 18);
        write("allow_all = true\nper_minutes = 71");
        assert!(watch.policy().is_err());
        // As it is being written.
        for part in ["", "per_minute = 9\n", "per_minute = 9\n\n[[allow]]"] {
            write(part);
            assert!(watch.policy().is_err(), "{part}");
        }
        write("allow_all = true\n[[allow]]\nrecordings = [\"r\"]\n");
        assert!(watch.policy().is_err());
        write("[[allow]]\nrecordings = [\"r\"]\n");
        assert!(watch.policy().is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(watch.policy().is_err());
    }
}
