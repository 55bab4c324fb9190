//! The library: a catalogue of recordings (SQLite now) and the objects they lie in (files, S3).
//! Not for: HTTP, keys' lifecycle.
#![forbid(unsafe_code)]

pub mod audit_chain;
mod audit_mark;
mod catalogue;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod content;
pub mod destruction;
mod error;
mod head;
pub mod import;
mod ingest;
mod objects;
pub mod peaks;
mod recovery;
mod rewrap;
mod rotation;
mod sqlite;

pub use audit_mark::{AuditMark, AuditMarks, KeystoreMarks};
pub use catalogue::{
    AuditEvent, AuditQuery, AuditRecord, AuditScope, Catalogue, Channel, Credential,
    CredentialKind, Destruction, DestructionNote, DestructionPlan, DestructionScope,
    DestructionState, DestructionStore, Details, Doomed, DoomedKey, FormerGeneration, KekCount,
    Lease, Media, NextGeneration, Page, Part, Recording, RecordingQuery, RewrapJob, RewrapNote,
    RewrapState, RewrapStore, Role, SlotMac, Span, Tenant, User,
};
pub use error::Error;
pub use head::{Head, key_record_path, read_key_record};
pub use ingest::{Ingest, Ingested, NewRecording, Wrap};
pub use objects::{ObjectHandle, ObjectVersion, ObjectWriter, Objects};
pub use recovery::{RecoveryKeys, RecoveryStatus};
pub use rewrap::{By, DEFAULT_PER_SECOND, MAX_PER_SECOND, RewrapStats, Rewrapper, lost_recordings};
pub use rotation::{DueRotation, RotationPeriod, RotationSchedule};
pub use sqlite::SqliteCatalogue;
