//! From a sealed object to a body whose first chunk is verified: the unwrap, the header's MAC, the
//! commitment, the last chunk, the first span. All before the status line is sent.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use keyreel_format::{PartName, Reader};
use keyreel_keys::DekLease;
use keyreel_library::Recording;
use keyreel_net::Abort;

use super::asking::Asking;
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
        let mut asking = Asking::new(
            self.app.clone(),
            self.recording.clone(),
            self.part.clone(),
            &sealed,
            &self.subject,
            &self.request_id,
        );
        let lease = match asking.lease().await {
            Ok(lease) => lease,
            Err(problem) => return Err(self.note_damage(problem).await),
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
        let source = Source::new(self, sealed, reader, asking, lease, listening, segments);
        source.start().await
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
            let generation = self.recording.generation;
            self.app.library().forget(part, generation).await;
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
