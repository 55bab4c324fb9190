//! From a sealed object to a body whose first chunk is verified: the unwrap, the header's MAC, the
//! commitment, the last chunk, the first span. All before the status line is sent.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use keyreel_format::{PartName, Reader};
use keyreel_keys::{DekLease, DekRequest};
use keyreel_library::Recording;
use keyreel_net::Abort;

use super::multipart::Segment;
use super::sealed::{Sealed, object_problem};
use super::stream::{MediaBody, Source};
use crate::audit::Event;
use crate::grants::Grant;
use crate::problem::{Code, Problem};
use crate::state::App;

/// Who listens to what, by which request.
pub(super) struct Listener {
    pub(super) app: App,
    pub(super) recording: Arc<Recording>,
    pub(super) part: PartName,
    pub(super) grant: Grant,
    pub(super) subject: String,
    pub(super) request_id: String,
    pub(super) abort: Abort,
}

impl Listener {
    /// Opens `segments` of `sealed`.
    pub(super) async fn open(
        self,
        sealed: Arc<Sealed>,
        segments: VecDeque<Segment>,
    ) -> Result<MediaBody, Problem> {
        let request = self.request(&sealed);
        let lease = match self.app.keyring().lease(&request).await {
            Ok(lease) => lease,
            Err(error) => return Err(self.note_damage(error.into()).await),
        };
        let reader = match self.reader(&sealed, &lease).await {
            Ok(reader) => reader,
            Err(problem) => return Err(self.note_damage(problem).await),
        };
        let listening = self
            .app
            .plays()
            .listen(
                &self.grant,
                &self.subject,
                lease.watch(),
                self.abort.clone(),
                &self.request_id,
            )
            .await?;
        let source = Source::new(self, sealed, reader, request, lease, listening, segments);
        source.start().await
    }

    /// What the keyring is asked for. The tenant is the catalogue's word, never the header's.
    fn request(&self, sealed: &Sealed) -> DekRequest {
        let key_block = sealed.key_block();
        DekRequest {
            tenant: self.recording.tenant.clone(),
            recording: self.recording.id.clone(),
            generation: key_block.generation,
            recipients: key_block.recipients.clone(),
            subject: self.subject.clone(),
            request_id: self.request_id.clone(),
        }
    }

    async fn reader(&self, sealed: &Sealed, lease: &DekLease) -> Result<Arc<Reader>, Problem> {
        let reader = sealed.reader(lease.dek())?;
        if !sealed.is_end_verified() {
            let last = reader.last_chunk();
            let read = sealed.read(last.object_range, BytesMut::new()).await;
            reader.verify_last_chunk(&mut read.map_err(object_problem)?)?;
            sealed.set_end_verified();
        }
        Ok(reader)
    }

    /// Damage is recorded, and an object that may be mended is not remembered. All other problems
    /// pass.
    pub(super) async fn note_damage(&self, problem: Problem) -> Problem {
        if problem.code() != Code::Integrity {
            return problem;
        }
        self.app.metrics().integrity_failed();
        let parts = &self.recording.parts;
        if let Some(part) = parts.iter().find(|part| part.name == self.part) {
            self.app.library().forget(part).await;
        }
        let event = Event::new("integrity.failed", &self.subject)
            .tenant(&self.recording.tenant)
            .recording(&self.recording.id)
            .outcome("integrity")
            .field("part", self.part.as_str())
            .field("grant", self.grant.id.to_string())
            .field("requestId", self.request_id.clone());
        // Nothing is given out here, so there is nothing to hold back where the log cannot be
        // written; the request log has it as well.
        if let Err(error) = self.app.audit().record(event).await {
            tracing::error!(%error, request_id = self.request_id, "damage could not be recorded");
        }
        problem
    }
}
