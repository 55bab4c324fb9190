//! Names as they stand in a header: parsed once, valid from then on.
//! Not for: looking anything up by them.

use std::fmt;
use std::str::FromStr;

/// A text that is not a valid name. Says which kind, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: expected 1 to {max} bytes of {allowed}, found {found} bytes{detail}")]
pub struct InvalidName {
    kind: &'static str,
    allowed: &'static str,
    max: usize,
    found: usize,
    detail: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $max:literal, $allowed:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// The longest one, in bytes.
            pub const MAX_LEN: usize = $max;

            /// Parses `text`.
            ///
            /// # Errors
            /// The text is empty, too long or has a character that is not allowed.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let invalid = |detail| InvalidName {
                    kind: $kind,
                    allowed: $allowed,
                    max: $max,
                    found: text.len(),
                    detail,
                };
                if text.is_empty() || text.len() > $max {
                    return Err(invalid(""));
                }
                let check: fn(char) -> bool = $check;
                if !text.chars().all(check) {
                    return Err(invalid(" with a character that is not allowed"));
                }
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0.into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn is_path_identifier(c: char) -> bool {
    is_identifier(c) || c == '/'
}

fn is_visible(c: char) -> bool {
    c.is_ascii_graphic() || c == ' '
}

name!(
    /// A tenant: one organisation, one root key.
    TenantId, "tenant id", 128, "A-Z a-z 0-9 - _ .", is_identifier
);
name!(
    /// A recording, unique within its tenant.
    RecordingId, "recording id", 128, "A-Z a-z 0-9 - _ .", is_identifier
);
name!(
    /// A part of a recording: "media", "media/1", "transcript", "waveform", "metadata".
    PartName, "part name", 64, "A-Z a-z 0-9 - _ . /", is_path_identifier
);
name!(
    /// A media type, such as "audio/wav".
    ContentType, "content type", 128, "visible ASCII", is_visible
);
name!(
    /// A key provider: "managed", "lkm", "aws-kms", or a vendor's.
    ProviderId, "provider id", 64, "A-Z a-z 0-9 - _ .", is_identifier
);
name!(
    /// A KEK: "kek/<n>" for keys that Keyreel mints, the key pair's UUID for a Local Key Manager's.
    KekId, "KEK id", 128, "A-Z a-z 0-9 - _ . /", is_path_identifier
);
