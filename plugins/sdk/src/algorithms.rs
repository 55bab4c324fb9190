//! A provider's wrap algorithms, and what it says of others.
//! Not for: unwrapping.

use crate::{Envelope, Error, Kek};

/// The wrap algorithms of one provider.
pub struct Algorithms {
    /// What its error codes begin with: "acme".
    pub prefix: &'static str,
    /// The start of a sentence that goes on with their names: "keys of Acme unwrap".
    pub who: &'static str,
    /// Their names.
    pub names: &'static [&'static str],
}

impl Algorithms {
    /// Their names, as [`Description`](crate::Description) has them.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Refuses an algorithm that is none of them.
    ///
    /// # Errors
    /// Class `request`, code "<prefix>.unknown-algorithm".
    pub fn check_known(&self, algorithm: &str) -> Result<(), Error> {
        if self.names.contains(&algorithm) {
            return Ok(());
        }
        Err(Error::request(
            format!("{}.unknown-algorithm", self.prefix),
            format!(
                "{} {}, not {algorithm:?}",
                self.who,
                self.names.join(" and ")
            ),
        ))
    }

    /// Refuses an envelope that is wrapped with none of them, or with another than its KEK's.
    ///
    /// # Errors
    /// Class `request`, code "<prefix>.unknown-algorithm" or "<prefix>.algorithm-mismatch".
    pub fn check(&self, kek: &Kek, envelope: &Envelope) -> Result<(), Error> {
        self.check_known(&envelope.algorithm)?;
        if kek.algorithm == envelope.algorithm {
            return Ok(());
        }
        Err(Error::request(
            format!("{}.algorithm-mismatch", self.prefix),
            format!(
                "{} is a key for {}, not {}",
                kek.id, kek.algorithm, envelope.algorithm
            ),
        ))
    }
}
