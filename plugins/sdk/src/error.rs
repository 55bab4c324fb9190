//! Constructors for the contract's error, one per class.
//! Not for: classifying a key service's answers: that is each provider's own work.

use std::fmt;

use crate::{Error, ErrorClass};

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $class:ident;)*) => {
        impl Error {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(code: impl Into<String>, message: impl Into<String>) -> Self {
                Self::new(ErrorClass::$class, code, message)
            })*
        }
    };
}

constructors! {
    /// The configuration is wrong: an administrator must act.
    config = Config;
    /// The call makes no sense to this provider.
    request = Request;
    /// The key service does not know the key.
    not_found = NotFound;
    /// The key's owner says no.
    denied = Denied;
    /// The key is disabled or pending deletion.
    key_disabled = KeyDisabled;
    /// Too many requests. See [`Error::retry_after_ms`].
    throttled = Throttled;
    /// The key service does not answer.
    unavailable = Unavailable;
    /// The key service did not answer in time.
    timeout = Timeout;
    /// A fault of the provider.
    internal = Internal;
}

impl Error {
    /// An error of `class`. `code` is stable and short ("acme.no-such-key"); `message` is for
    /// operators and holds neither key material nor what a key service sent.
    #[must_use]
    pub fn new(class: ErrorClass, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// The wrapped DEK does not open. There is nothing more to say: a detail would be a padding
    /// oracle, and the host drops it.
    #[must_use]
    pub fn integrity() -> Self {
        Self::new(ErrorClass::Integrity, "integrity", "")
    }

    /// The same, with the key service's word on when to try again.
    #[must_use]
    pub fn retry_after_ms(mut self, milliseconds: u32) -> Self {
        self.retry_after_ms = Some(milliseconds);
        self
    }
}

impl From<fmt::Error> for Error {
    fn from(_: fmt::Error) -> Self {
        Self::internal("format", "a text could not be formatted")
    }
}
