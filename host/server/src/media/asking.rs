//! Asking for a recording's DEK, at first and for as long as somebody listens. A re-wrap may move
//! the recording to another KEK meanwhile, and the former one may be retired: then the recording's
//! newer generation is asked for, and the listener notices nothing.

use std::sync::Arc;

use keyreel_format::PartName;
use keyreel_keys::{DekLease, DekRequest};
use keyreel_library::Recording;

use super::sealed::Sealed;
use crate::problem::Problem;
use crate::state::App;

/// What is asked for, and by whom.
#[derive(Clone)]
pub(super) struct Asking {
    app: App,
    recording: Arc<Recording>,
    part: PartName,
    request: DekRequest,
}

impl Asking {
    /// For the key of `sealed`. The tenant is the catalogue's word, never the header's.
    pub(super) fn new(
        app: App,
        recording: Arc<Recording>,
        part: PartName,
        sealed: &Sealed,
        subject: &str,
        request_id: &str,
    ) -> Self {
        let key_block = sealed.key_block();
        let request = DekRequest {
            tenant: recording.tenant.clone(),
            recording: recording.id.clone(),
            generation: key_block.generation,
            recipients: key_block.recipients.clone(),
            subject: subject.to_owned(),
            request_id: request_id.to_owned(),
        };
        Self {
            app,
            recording,
            part,
            request,
        }
    }

    /// The DEK.
    pub(super) async fn lease(&mut self) -> Result<DekLease, Problem> {
        let refused = match self.app.keyring().lease(&self.request).await {
            Ok(lease) => return Ok(lease),
            Err(error) => error,
        };
        match self.lease_of_newer().await {
            Some(lease) => lease,
            None => Err(refused.into()),
        }
    }

    /// The DEK, by the header of the recording's newer generation; `None` where there is none.
    async fn lease_of_newer(&mut self) -> Option<Result<DekLease, Problem>> {
        let newer = self.app.newer(&self.recording).await?;
        let part = newer.parts.iter().find(|part| part.name == self.part)?;
        let sealed = match self.app.library().sealed(&newer, part).await {
            Ok(sealed) => sealed,
            Err(problem) => return Some(Err(problem)),
        };
        let key_block = sealed.key_block();
        self.request.generation = key_block.generation;
        self.request.recipients.clone_from(&key_block.recipients);
        self.recording = newer;
        let lease = match self.app.keyring().lease(&self.request).await {
            Ok(lease) => lease,
            Err(error) => return Some(Err(error.into())),
        };
        // That it is the very key that the object was sealed under, the newer header shows.
        Some(sealed.reader(lease.dek()).map(|_| lease))
    }
}
