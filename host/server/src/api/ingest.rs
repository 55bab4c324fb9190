//! Recordings in, one at a time: sealed as they arrive, in constant memory, never in clear on a
//! disk. And the sealed file out again, for whoever keeps the keys.
//! Not for: folders (see `keyreel import`).

mod body;
mod places;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use keyreel_format::{ContentType, RecordingId};
use keyreel_library::{
    Details, Error as LibraryError, Media, NewRecording, ObjectHandle, Part, Recording,
    read_key_record,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::extract::no_recording;
use super::session::private;
use super::{Id, Query, Whose, paging};
use crate::access::{Admin, Administered, Holding};
use crate::audit::Event;
use crate::problem::{Code, Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;
use body::{Incoming, Pace, Stop};
pub(crate) use places::{NoPlace, Places};

/// What is known of a recording.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NewRecordingQuery {
    /// Of this kind: "call", "chat", "email", "message", "screen".
    #[param(value_type = String)]
    media: Media,
    /// What the body is, a media type; the header `Content-Type` counts without it. Of calls and
    /// screen recordings, the bytes have the last word.
    content_type: Option<String>,
    /// The recording's id, to make the request safe to repeat; a new UUID without it.
    recording_id: Option<String>,
    /// When the conversation started; now without it.
    start_time: Option<String>,
    /// How long it is, where the bytes cannot tell.
    duration_ms: Option<u64>,
    /// "inbound" or "outbound".
    direction: Option<String>,
    /// The queue that it came through.
    queue: Option<String>,
    /// What it was about.
    subject: Option<String>,
    /// The tenant, where the token administers several.
    #[serde(rename = "tenant")]
    _tenant: Option<String>,
}

/// A recording that was taken in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sealed {
    /// Its id.
    id: String,
    /// What somebody may want to look into; the recording is whole all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Seals the body as a recording of the tenant, under its current key. For administrators.
///
/// The body is sealed as it arrives. When the answer comes, it is durable and has been read back.
/// With `recordingId` the request may be repeated: where the recording is there already, the answer
/// is 200 and the body is not looked at.
#[utoipa::path(post, path = "/api/v1/conversations/{cid}/recordings", tag = "recordings",
    params(("cid" = String, Path, description = "The conversation's id"), NewRecordingQuery),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The recording itself, raw"),
    responses(
    (status = 200, description = "It was there already", body = Sealed),
    (status = 201, description = "It is sealed and durable", body = Sealed),
    (status = 400, description = "`bad-request`, also for a body that is no recording, or comes more slowly than `limits.upload_kib_per_second`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`; `key-denied`, `key-disabled`: the key service says no when the key is tried, before this server's first recording under it", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`key-not-found`: the key service does not know the key", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`conflict`: a recording of this id belongs to another conversation", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 410, description = "`destroyed`: the organisation's root key is gone", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 413, description = "`too-large`: `limits.recording_mib`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "`integrity`: the key service does not open what is sealed with the key, or what the catalogue has of a recording of this id was changed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 500, description = "`config`: there is no current key, or its key service is not set up correctly", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 502, description = "`provider-malformed`: the key service's answer makes no sense", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, also where `limits.uploads` or `limits.uploads_per_tenant` come in already; `throttled`, `circuit-open`, `audit-unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 504, description = "`timeout`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn create(
    State(app): State<App>,
    info: RequestInfo,
    administered: Administered,
    Path(conversation): Path<String>,
    Query(query): Query<NewRecordingQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let tenant = administered.tenant().id.clone();
    let new = described(&app, &administered, conversation, query, &headers)?;
    if let Some(answer) = there_already(&app, &new).await? {
        return Ok(answer);
    }
    let place = app.uploads().take(&tenant).map_err(|none| {
        let detail = match none {
            NoPlace::All => {
                "As many recordings as this server takes at once are coming in. Try again shortly."
            }
            NoPlace::Tenants => {
                "As many recordings of your organisation as this server takes at once are coming \
                 in (limits.uploads_per_tenant). Try again shortly."
            }
        };
        Problem::new(Code::Unavailable, detail)
    })?;
    let limits = &app.settings().limits;
    let pace = Pace {
        patience: limits.request_timeout(),
        bytes_per_second: u64::from(limits.upload_kib_per_second) << 10,
    };
    let (mut incoming, stop) = Incoming::new(body, u64::from(limits.recording_mib) << 20, pace);
    let event = Event::new("recording.sealed", administered.access().subject())
        .tenant(&tenant)
        .recording(&new.id)
        .field("media", serde_json::to_value(new.media).unwrap_or_default())
        .field("requestId", info.id());
    // A task of its own: whoever breaks off leaves nothing half done behind.
    let sealing = tokio::spawn({
        let (app, new) = (app.clone(), new.clone());
        async move {
            let sealed = app.ingest().seal(new, &mut incoming, &|_| {}).await;
            drop(place);
            let sealed = sealed?;
            let recording = &sealed.recording;
            let event = event
                .field("provider", recording.provider.as_str())
                .field("kek", recording.kek.as_str())
                .field("algorithm", recording.wrap_algorithm.clone());
            app.audit().record(event).await?;
            Ok::<_, Failure>(sealed.warnings)
        }
    });
    let sealed = sealing.await.map_err(|_| {
        Problem::new(Code::Internal, "The server failed.").inward("sealing a recording panicked")
    })?;
    match sealed {
        Ok(warnings) => {
            let answer = Sealed {
                id: new.id.to_string(),
                warnings,
            };
            Ok((StatusCode::CREATED, private(Json(answer))).into_response())
        }
        // Somebody else's request with the same id was quicker.
        Err(Failure::Library(LibraryError::Exists { .. })) => there_already(&app, &new)
            .await?
            .ok_or_else(|| Problem::new(Code::Unavailable, "Try again.")),
        Err(failure) => Err(failure.into_problem(stop.why())),
    }
}

fn described(
    app: &App,
    administered: &Administered,
    conversation_id: String,
    query: NewRecordingQuery,
    headers: &HeaderMap,
) -> Result<NewRecording, Problem> {
    let bad = |detail: String| Problem::new(Code::BadRequest, detail);
    if conversation_id.is_empty() || conversation_id.len() > MAX_NAME {
        return Err(bad(format!(
            "conversation: expected 1 to {MAX_NAME} bytes."
        )));
    }
    let id = query
        .recording_id
        .unwrap_or_else(|| Uuid::new_v4().to_string());
    let id = RecordingId::parse(&id).map_err(|invalid| bad(format!("recordingId: {invalid}.")))?;
    // A form's type says nothing of the recording: curl sends it with every --data-binary.
    let header = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .filter(|text| !text.starts_with("application/x-www-form-urlencoded"));
    let content_type = match query.content_type.as_deref().or(header) {
        Some(text) => Some(
            ContentType::parse(text).map_err(|invalid| bad(format!("contentType: {invalid}.")))?,
        ),
        None => None,
    };
    for (name, text) in [
        ("direction", &query.direction),
        ("queue", &query.queue),
        ("subject", &query.subject),
    ] {
        if text.as_ref().is_some_and(|text| text.len() > MAX_NAME) {
            return Err(bad(format!("{name}: at most {MAX_NAME} bytes.")));
        }
    }
    let start_ms = paging::moment("startTime", query.start_time.as_deref())?;
    Ok(NewRecording {
        id,
        tenant: administered.tenant().id.clone(),
        conversation_id,
        media: query.media,
        content_type,
        start_ms: start_ms.unwrap_or_else(|| app.clock().now_ms()),
        duration_ms: query.duration_ms,
        details: Details {
            direction: query.direction,
            queue: query.queue,
            subject: query.subject,
            ..Details::default()
        },
        transcript: None,
    })
}

/// The answer to a request that is repeated.
async fn there_already(app: &App, new: &NewRecording) -> Result<Option<Response>, Problem> {
    let tenants = std::slice::from_ref(&new.tenant);
    let Some(found) = app.catalogue().recording(tenants, &new.id).await? else {
        return Ok(None);
    };
    if found.conversation_id != new.conversation_id || found.media != new.media {
        return Err(Problem::new(
            Code::Conflict,
            "There is a recording of this id already, of another conversation or kind. \
             Choose another recordingId.",
        ));
    }
    let answer = Sealed {
        id: found.id.to_string(),
        warnings: Vec::new(),
    };
    Ok(Some(private(Json(answer))))
}

enum Failure {
    Library(LibraryError),
    Audit(crate::audit::AuditError),
}

impl From<LibraryError> for Failure {
    fn from(error: LibraryError) -> Self {
        Self::Library(error)
    }
}

impl From<crate::audit::AuditError> for Failure {
    fn from(error: crate::audit::AuditError) -> Self {
        Self::Audit(error)
    }
}

impl Failure {
    fn into_problem(self, stop: Option<Stop>) -> Problem {
        match (self, stop) {
            (Self::Library(LibraryError::Input { .. }), Some(Stop::TooLarge)) => Problem::new(
                Code::TooLarge,
                "The recording is larger than this server takes (limits.recording_mib).",
            ),
            (Self::Library(error @ LibraryError::Input { .. }), stop) => {
                let detail = match stop {
                    Some(Stop::Stalled) => "The body stalled. Nothing was kept; send it again.",
                    Some(Stop::Slow) => {
                        "The body came too slowly (limits.upload_kib_per_second). Nothing was \
                         kept; send it again over a faster line."
                    }
                    _ => "The body was broken off. Nothing was kept; send it again.",
                };
                Problem::new(Code::BadRequest, detail).inward(error)
            }
            (Self::Library(LibraryError::BadMedia { reason }), _) => Problem::new(
                Code::BadRequest,
                format!("The body is not a recording of this kind: {reason}."),
            ),
            (Self::Library(LibraryError::Wrap { source }), _) => {
                match source.downcast::<keyreel_keys::KeyError>() {
                    Ok(error) => (*error).into(),
                    Err(error) => Problem::new(Code::Internal, "The server failed.").inward(error),
                }
            }
            (Self::Library(error), _) => error.into(),
            (Self::Audit(error), _) => error.into(),
        }
    }
}

/// Which part.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PartQuery {
    /// "media" unless said; "waveform", "transcript".
    part: Option<String>,
    /// "file" unless said: one file that opens with today's key; "stored": the object as it lies in
    /// the store; "key-record": what a re-wrap left beside it.
    #[param(value_type = Option<String>)]
    form: Option<Form>,
    /// Of this tenant. Needed only where several of the caller's tenants have a recording of this
    /// id.
    tenant: Option<String>,
}

/// The sealed file itself, under the key that the recording has now: for an administrator who takes
/// recordings elsewhere, or opens them without Keyreel. Nothing is unwrapped.
#[utoipa::path(get, path = "/api/v1/recordings/{id}/sealed", tag = "recordings",
    params(("id" = String, Path, description = "The recording's id"), PartQuery),
    responses(
    (status = 200, description = "The sealed file (docs/format.md)", body = Vec<u8>, content_type = "application/octet-stream"),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another tenant's", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`ambiguous`: several of the caller's tenants have this id; name one with `tenant`. `conflict`: its keys do not fit into the file", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 410, description = "`destroyed`: the organisation's root key is gone", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "`integrity`: what the catalogue or the store has of the recording was changed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`unavailable`, `audit-unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn sealed(
    State(app): State<App>,
    info: RequestInfo,
    admin: Holding<Admin>,
    Id(id): Id,
    Query(query): Query<PartQuery>,
) -> Result<Response, Problem> {
    let whose = Whose::of(query.tenant);
    let recording = whose.recording(&app, &admin, &id).await?;
    info.of(&recording.tenant);
    let wanted = query.part.as_deref().unwrap_or("media");
    let part = recording.parts.iter().find(|p| p.name.as_str() == wanted);
    let part = part.ok_or_else(no_recording)?.clone();
    let form = query.form.unwrap_or_default();
    let (start, handle) = stored(&app, recording.clone(), &part, form).await?;
    let len = match form {
        Form::KeyRecord => start.len() as u64,
        Form::File | Form::Stored => handle.version().len,
    };
    let event = Event::new("recording.sealed.read", admin.access().subject())
        .tenant(&recording.tenant)
        .recording(&recording.id)
        .field("part", part.name.as_str())
        .field("bytes", len)
        .field("form", form.extension())
        .field("requestId", info.id());
    app.audit().record(event).await?;
    let mut response = private(Body::from_stream(pieces(start, handle, len)));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    let name = format!(
        "attachment; filename=\"{}-{}.{}\"",
        recording.id,
        part.name,
        form.extension()
    );
    if let Ok(name) = HeaderValue::from_str(&name.replace('/', "-")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// What of a recording's part is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// One file that opens with the recording's key of today.
    #[default]
    File,
    /// The object as it lies in the store: after a re-wrap, its header still names the key that it
    /// was sealed with.
    Stored,
    /// The key record that counts for it.
    KeyRecord,
}

impl Form {
    fn extension(self) -> &'static str {
        match self {
            Self::File | Self::Stored => "krc",
            Self::KeyRecord => "krc.key",
        }
    }
}

/// What is sent before the object, in the place of as many of its bytes; and the object. Nothing is
/// unwrapped for it: the re-wrap left the slot's MAC in the catalogue.
async fn stored(
    app: &App,
    mut recording: Recording,
    part: &Part,
    form: Form,
) -> Result<(Bytes, ObjectHandle), Problem> {
    for _ in 0..REWRAPS_SURVIVED {
        let handle = app.objects().get(&part.object, None).await?;
        let generation = recording.generation;
        match (form, generation) {
            (Form::Stored, _) | (Form::File, 0) => return Ok((Bytes::new(), handle)),
            (Form::KeyRecord, 0) => {
                return Err(Problem::new(
                    Code::NotFound,
                    "This recording was not re-wrapped: its file needs no key record.",
                ));
            }
            (Form::File | Form::KeyRecord, _) => {}
        }
        let macs = app.catalogue().slot_macs(&recording.tenant, &recording.id);
        let macs = macs.await?;
        let mac = macs.iter().find(|mac| mac.part == part.name);
        let record = read_key_record(app.objects(), &part.object, generation).await;
        match (record, mac) {
            (Ok(record), _) if form == Form::KeyRecord => {
                return Ok((record.to_key_record().into(), handle));
            }
            (Ok(record), Some(mac)) if mac.generation == generation => {
                return Ok((record.slot_with(&mac.mac)?.into(), handle));
            }
            (Ok(_), None) => {
                return Err(Problem::new(
                    Code::Conflict,
                    "This recording's keys do not fit into its file. Take the file as it is stored \
                     and its key record: ?form=stored and ?form=key-record.",
                ));
            }
            // It was just re-wrapped.
            (Ok(_), Some(_)) | (Err(LibraryError::NotFound { .. }), _) => {}
            (Err(error), _) => return Err(error.into()),
        }
        let tenants = std::slice::from_ref(&recording.tenant);
        let now = app.catalogue().recording(tenants, &recording.id).await?;
        recording = now.ok_or_else(no_recording)?;
    }
    Err(Problem::new(
        Code::Unavailable,
        "The recording was just changed. Try again.",
    ))
}

/// `start`, and the rest of the object, as it is asked for. It ends the connection where it cannot
/// be read to its end.
fn pieces(
    start: Bytes,
    handle: ObjectHandle,
    len: u64,
) -> impl futures::Stream<Item = Result<Bytes, LibraryError>> {
    futures::stream::try_unfold((start, handle, 0), move |(start, handle, at)| async move {
        if at == 0 && !start.is_empty() {
            let after = start.len() as u64;
            return Ok(Some((start, (Bytes::new(), handle, after))));
        }
        let end = len.min(at + PIECE);
        if at >= end {
            return Ok(None);
        }
        let piece = handle.read(at..end, BytesMut::new()).await?;
        Ok(Some((piece.freeze(), (start, handle, end))))
    })
}

/// How many re-wraps in a row one request sits out.
const REWRAPS_SURVIVED: u32 = 3;
const PIECE: u64 = 256 << 10;
/// Bytes of a conversation's id, a queue, a subject.
const MAX_NAME: usize = 256;
