//! What can go wrong with a Local Key Manager.

/// What goes wrong. Signatures are checked first, but for those that end before an answer begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The connection is closed before anything is read.
    Refuse,
    /// The request is read, and nothing ever answered.
    Hang,
    /// The head of a 200 is sent, and nothing after it.
    HangInBody,
    /// One byte a second.
    Drip,
    /// The connection is closed in the middle of the body.
    Cut,
    /// An answer of a body that never ends.
    Endless,
    /// An answer with a body of so many bytes of JSON.
    Large(usize),
    /// Something that is not HTTP.
    Garbage,
    /// Two content lengths that differ.
    TwoLengths,
    /// So many header fields.
    Headers(usize),
    /// A redirect to this URL.
    Redirect(String),
    /// A status with a JSON body, and `Retry-After` in seconds.
    Status(u16, Option<u32>),
    /// A status with a page in HTML.
    Page(u16),
    /// A 200 with this body, as JSON.
    Body(String),
    /// The right form with another key in it.
    WrongKey,
    /// A key of so many bytes.
    KeyLength(usize),
}
