//! The library: a catalogue of recordings (SQLite now) and the objects they lie in (files, S3).
//! Not for: HTTP, keys' lifecycle.
#![forbid(unsafe_code)]

pub mod audit_chain;
mod catalogue;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod content;
mod error;
pub mod import;
mod ingest;
mod objects;
pub mod peaks;
mod rotation;
mod sqlite;

pub use catalogue::{
    AuditEvent, AuditQuery, AuditRecord, AuditScope, Catalogue, Channel, Credential,
    CredentialKind, Details, Media, Page, Part, Recording, RecordingQuery, Role, Span, Tenant,
    User,
};
pub use error::Error;
pub use ingest::{Ingest, Ingested, NewRecording, Wrap};
pub use objects::{ObjectHandle, ObjectVersion, ObjectWriter, Objects};
pub use rotation::{DueRotation, RotationPeriod, RotationSchedule};
pub use sqlite::SqliteCatalogue;
