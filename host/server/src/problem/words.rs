//! What is said when a key cannot be had, and whose turn it is then. The words depend on who keeps
//! the key: a customer's own service is not Keyreel's to mend, and Keyreel's own is not the
//! customer's. The pages show these very words.
//! Not for: which status goes with it (see `mapping`).

use keyreel_keys::{ErrorClass, ProviderId};

use super::Code;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Whoever keeps the key.
    KeyOwner,
    /// The organisation's administrator of Keyreel.
    Administrator,
    /// Whoever runs this server.
    Operator,
}

impl Turn {
    /// As it stands in a problem.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::KeyOwner => "key-owner",
            Self::Administrator => "administrator",
            Self::Operator => "operator",
        }
    }
}

/// What is said.
pub(crate) struct Words {
    pub(crate) code: Code,
    pub(crate) detail: String,
    pub(crate) turn: Turn,
}

/// What happened to somebody who asked for a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Happened {
    /// The provider failed like this.
    Failed(ErrorClass),
    /// It is left alone for a while.
    LeftAlone,
    /// Too many wait for it.
    Crowded,
}

/// Who keeps a key.
struct Keeper {
    /// At the start of a sentence.
    service: &'static str,
    /// What "the key" is.
    key: &'static str,
    /// Who acts.
    owner: &'static str,
    turn: Turn,
}

impl Keeper {
    fn of(provider: Option<&ProviderId>) -> Self {
        match provider.map(ProviderId::as_str) {
            Some("managed") => Self {
                service: "Keyreel's own key store",
                key: "The key that Keyreel keeps for your organisation",
                owner: "whoever runs this Keyreel",
                turn: Turn::Operator,
            },
            Some("lkm") => Self {
                service: "Your organisation's Local Key Manager",
                key: "This recording's key pair in your organisation's Local Key Manager",
                owner: "whoever runs the Local Key Manager",
                turn: Turn::KeyOwner,
            },
            Some("aws-kms") => Self {
                service: "AWS KMS",
                key: "Your organisation's KMS key",
                owner: "whoever administers the KMS key in AWS",
                turn: Turn::KeyOwner,
            },
            _ => Self {
                service: "Your organisation's key service",
                key: "This recording's key in your organisation's key service",
                owner: "whoever runs the key service",
                turn: Turn::KeyOwner,
            },
        }
    }
}

/// What to say of it.
pub(crate) fn words(provider: Option<&ProviderId>, happened: Happened) -> Words {
    let Keeper {
        service,
        key,
        owner,
        turn,
    } = Keeper::of(provider);
    let said = |code, detail: String| Words { code, detail, turn };
    match happened {
        Happened::LeftAlone => said(
            Code::CircuitOpen,
            format!(
                "{service} failed several times in a row and is given a pause. Keyreel asks again \
                 by itself; if it goes on, it is up to {owner}."
            ),
        ),
        Happened::Crowded => said(
            Code::Throttled,
            format!("Too many recordings are being opened with the same key service. {AGAIN}"),
        ),
        Happened::Failed(class) => match class {
            ErrorClass::Unavailable => said(
                Code::Unavailable,
                format!(
                    "{service} does not answer. The recording is safe; only its key cannot be had. \
                     {AGAIN} If it goes on, it is up to {owner}."
                ),
            ),
            ErrorClass::Timeout => said(
                Code::Timeout,
                format!(
                    "{service} did not answer in time. {AGAIN} If it goes on, it is up to {owner}."
                ),
            ),
            ErrorClass::Throttled => said(
                Code::Throttled,
                format!("{service} has too many requests. {AGAIN}"),
            ),
            ErrorClass::KeyDisabled => said(
                Code::KeyDisabled,
                format!("{key} is disabled. It plays again as soon as {owner} enables it."),
            ),
            ErrorClass::Denied => said(
                Code::KeyDenied,
                format!("{service} refuses to open this recording's key. Ask {owner} why."),
            ),
            ErrorClass::NotFound => said(
                Code::KeyNotFound,
                format!(
                    "{service} does not know the key that this recording was sealed with. Ask \
                     {owner} whether old keys were kept."
                ),
            ),
            // A malformed request to a provider is this server's doing or the plugin's, not the
            // listener's.
            ErrorClass::Request => said(
                Code::ProviderMalformed,
                format!(
                    "{service} did not take the request for this recording's key. Tell {owner}."
                ),
            ),
            ErrorClass::Internal => said(
                Code::ProviderMalformed,
                format!("{service} gave an answer that cannot be used. Tell {owner}."),
            ),
            ErrorClass::Integrity => Words {
                code: Code::Integrity,
                detail: super::mapping::DAMAGED.to_owned(),
                turn: Turn::Administrator,
            },
            ErrorClass::Config => Words {
                code: Code::Config,
                detail: match turn {
                    Turn::Operator => format!("{service} is not set up correctly. Tell {owner}."),
                    _ => "Keyreel's settings for your organisation's key service are wrong. Your \
                          administrator can test and mend them."
                        .to_owned(),
                },
                turn: match turn {
                    Turn::Operator => Turn::Operator,
                    _ => Turn::Administrator,
                },
            },
        },
    }
}

const AGAIN: &str = "Keyreel tries again by itself.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_turn_it_is_depends_on_who_keeps_the_key() {
        let table = [
            ("managed", "whoever runs this Keyreel", Turn::Operator),
            ("lkm", "whoever runs the Local Key Manager", Turn::KeyOwner),
            (
                "aws-kms",
                "whoever administers the KMS key in AWS",
                Turn::KeyOwner,
            ),
            ("acme-hsm", "whoever runs the key service", Turn::KeyOwner),
        ];
        for (provider, owner, turn) in table {
            let provider = ProviderId::parse(provider).unwrap();
            for class in [
                ErrorClass::Unavailable,
                ErrorClass::KeyDisabled,
                ErrorClass::Denied,
                ErrorClass::NotFound,
                ErrorClass::Internal,
            ] {
                let said = words(Some(&provider), Happened::Failed(class));
                assert!(said.detail.contains(owner), "{class:?}: {}", said.detail);
                assert_eq!(said.turn, turn);
            }
            let said = words(Some(&provider), Happened::Failed(ErrorClass::Config));
            let expected = if turn == Turn::Operator {
                turn
            } else {
                Turn::Administrator
            };
            assert_eq!(said.turn, expected, "{provider}");
        }
    }
}
