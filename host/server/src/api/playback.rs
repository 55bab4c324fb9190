//! Making playback grants.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keyreel_format::{ContentType, PartName};
use uuid::Uuid;

use super::extract::no_recording;
use super::model::{Playback, time};
use super::session::private;
use super::{Id, Query, Whose};
use crate::access::{Agent, Holding};
use crate::audit::Event;
use crate::grants::{Grant, Parts};
use crate::problem::{Problem, ProblemDetails};
use crate::request::RequestInfo;
use crate::state::App;

/// Grants playback: URLs that open this recording's parts until they expire, for this session or
/// token alone. Make a new grant when a range is refused, and go on from there.
#[utoipa::path(post, path = "/api/v1/recordings/{id}/playback", tag = "recordings",
    params(("id" = String, Path, description = "The recording's id"), Whose),
    responses(
    (status = 201, description = "The grant's URLs", body = Playback),
    (status = 401, description = "`unauthenticated`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 403, description = "`denied`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 404, description = "`not-found`, also where it is another tenant's", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 409, description = "`ambiguous`: several of the caller's tenants have this id; name one with `tenant`", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 410, description = "`destroyed`: the organisation's root key is gone", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 422, description = "`integrity`: what the catalogue has of a recording was changed", body = ProblemDetails, content_type = "application/problem+json"),
    (status = 503, description = "`audit-unavailable`, `unavailable`", body = ProblemDetails, content_type = "application/problem+json"),
), security(("bearer" = []), ("cookie" = [])))]
pub(crate) async fn grant(
    State(app): State<App>,
    info: RequestInfo,
    agent: Holding<Agent>,
    Id(id): Id,
    Query(whose): Query<Whose>,
) -> Result<Response, Problem> {
    let recording = Arc::new(whose.recording(&app, &agent, &id).await?);
    info.of(&recording.tenant);
    app.expect(recording.clone()).await;
    let credential = &agent.access().identity().credential;
    let now_ms = app.clock().now_ms();
    let ttl_ms = u64::try_from(app.settings().playback.grant_ttl().as_millis()).unwrap_or(u64::MAX);
    let mut expires_ms = now_ms.saturating_add(ttl_ms);
    if let Some(end) = credential.expires_ms {
        expires_ms = expires_ms.min(end);
    }
    let mut parts = Parts::default();
    for part in &recording.parts {
        if let Some(kind) = part_kind(&part.name) {
            parts = parts.with(kind);
        }
    }
    let grant = Grant {
        id: Uuid::new_v4(),
        tenant: recording.tenant.clone(),
        recording: recording.id.clone(),
        parts,
        credential: credential.secret_sha256,
        kind: credential.kind,
        expires_ms,
    };
    let event = Event::new("grant.created", agent.access().subject())
        .tenant(&recording.tenant)
        .recording(&recording.id)
        .field("grant", grant.id.to_string())
        .field("credential", credential.id.clone())
        .field("expires", time(expires_ms))
        .field("requestId", info.id());
    app.audit().record(event).await?;
    let signed = app.grants().sign(&grant);
    let uri = |name: &str| {
        let part = recording
            .parts
            .iter()
            .find(|part| part.name.as_str() == name)?;
        Some(format!(
            "/media/{signed}/{}",
            media_file_name(&part.name, &part.content_type)
        ))
    };
    let playback = Playback {
        media_uri: uri("media").ok_or_else(no_recording)?,
        waveform_uri: uri("waveform"),
        transcript_uri: uri("transcript"),
        expires: time(expires_ms),
    };
    Ok((StatusCode::CREATED, private(Json(playback))).into_response())
}

/// The bit of a part; `None` for parts that are not played.
pub(crate) fn part_kind(name: &PartName) -> Option<Parts> {
    match name.as_str() {
        "media" => Some(Parts::MEDIA),
        "waveform" => Some(Parts::WAVEFORM),
        "transcript" => Some(Parts::TRANSCRIPT),
        _ => None,
    }
}

/// What a part is called in a URL. Safari wants an extension that fits.
pub(crate) fn media_file_name(name: &PartName, content_type: &ContentType) -> String {
    let full = content_type.as_str();
    let essence = full
        .split(';')
        .next()
        .unwrap_or(full)
        .trim()
        .to_ascii_lowercase();
    let extension = match essence.as_str() {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => "wav",
        "audio/mpeg" | "audio/mp3" => "mp3",
        "audio/ogg" | "audio/opus" | "application/ogg" => "ogg",
        "audio/mp4" | "audio/aac" | "audio/x-m4a" => "m4a",
        "audio/flac" => "flac",
        "audio/webm" | "video/webm" => "webm",
        "video/mp4" => "mp4",
        "application/json" => "json",
        "message/rfc822" => "eml",
        "text/html" => "html",
        "text/plain" => "txt",
        _ => "bin",
    };
    let stem = match name.as_str() {
        "media" if essence.starts_with("audio/") || essence == "application/ogg" => "audio",
        "media" if essence.starts_with("video/") => "video",
        other => other,
    };
    format!("{stem}.{extension}")
}

#[cfg(test)]
mod tests {
    use keyreel_format::{ContentType, PartName};

    #[test]
    fn names_fit_the_content() {
        let table = [
            ("media", "audio/wav", "audio.wav"),
            ("media", "audio/mpeg", "audio.mp3"),
            ("media", "audio/ogg; codecs=opus", "audio.ogg"),
            ("media", "Audio/Opus", "audio.ogg"),
            ("media", "video/webm", "video.webm"),
            ("media", "application/x-unheard-of", "media.bin"),
            ("waveform", "application/json", "waveform.json"),
            ("transcript", "application/json", "transcript.json"),
        ];
        for (part, content_type, name) in table {
            let part = PartName::parse(part).unwrap();
            let content_type = ContentType::parse(content_type).unwrap();
            assert_eq!(super::media_file_name(&part, &content_type), name);
        }
    }
}
