//! The API's shapes.

use jiff::Timestamp;
use keyreel_library::{Channel, Media, Part, Recording, Role, Span};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A moment in RFC 3339, UTC, with milliseconds.
pub(crate) fn time(ms: u64) -> String {
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    format!(
        "{:.3}",
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
    )
}

/// Who is signed in.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Session {
    /// An opaque id: names this person in the audit log.
    pub(crate) subject: String,
    /// What people call them.
    pub(crate) name: String,
    /// What they may do, by tenant.
    pub(crate) tenants: Vec<TenantAccess>,
    /// When they have to sign in again; `null` for a token without an end.
    pub(crate) expires: Option<String>,
}

/// A tenant, and what the caller may do in it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TenantAccess {
    /// Its id.
    pub(crate) id: String,
    /// What people call it.
    pub(crate) name: String,
    /// "compatible" or "aes256".
    pub(crate) policy: String,
    /// The provider of its keys.
    pub(crate) provider: String,
    /// "agent", "supervisor" or "admin".
    pub(crate) role: String,
}

/// Tenants.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TenantList {
    /// Those in which the caller has a role.
    pub(crate) entities: Vec<TenantAccess>,
}

/// A role's name.
pub(crate) fn role_name(role: Role) -> String {
    match role {
        Role::Agent => "agent",
        Role::Supervisor => "supervisor",
        Role::Admin => "admin",
    }
    .to_owned()
}

/// A page of recordings, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordingPage {
    /// The recordings.
    pub(crate) entities: Vec<RecordingSummary>,
    /// Where the next page is; `null` at the end.
    pub(crate) next_uri: Option<String>,
}

/// A recording as it stands in a list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordingSummary {
    /// Its id.
    pub(crate) id: String,
    /// Whose it is.
    pub(crate) tenant: String,
    /// The conversation it belongs to.
    pub(crate) conversation_id: String,
    /// "call", "chat", "email", "message" or "screen".
    pub(crate) media: String,
    /// The media type of its main part.
    pub(crate) content_type: String,
    /// When the conversation started.
    pub(crate) start_time: String,
    /// How long it is.
    pub(crate) duration_ms: u64,
    /// Who holds its key.
    pub(crate) provider: String,
    /// Which key.
    pub(crate) kek_id: String,
    /// How its DEK is wrapped.
    pub(crate) wrap_algorithm: String,
    /// "inbound" or "outbound".
    pub(crate) direction: Option<String>,
    /// The queue that it came through.
    pub(crate) queue: Option<String>,
    /// What it was about.
    pub(crate) subject: Option<String>,
    /// Who spoke on which channel.
    pub(crate) channels: Vec<SpeakerChannel>,
    /// Free labels.
    pub(crate) labels: Vec<String>,
    /// Whether there is a transcript.
    pub(crate) has_transcript: bool,
}

/// One audio channel.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SpeakerChannel {
    /// Its number, from 0.
    pub(crate) channel: u16,
    /// "agent", "customer", or another.
    pub(crate) role: String,
    /// Who.
    pub(crate) name: Option<String>,
    /// Telephone number or address.
    pub(crate) address: Option<String>,
}

/// A stretch that is not talk.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MarkedSpan {
    /// "Hold", "SecurePause", "FlowOrQueue" or "Pause".
    pub(crate) reason: String,
    /// Where it begins.
    pub(crate) start_ms: u64,
    /// Where it ends.
    pub(crate) end_ms: u64,
    /// What a person reads.
    pub(crate) description: Option<String>,
}

/// A recording, all of it but its bytes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct RecordingDetail {
    /// As in the list.
    #[serde(flatten)]
    pub(crate) summary: RecordingSummary,
    /// Holds, secure pauses and the like.
    pub(crate) spans: Vec<MarkedSpan>,
    /// Its sealed parts.
    pub(crate) parts: Vec<SealedPart>,
    /// What protects it.
    pub(crate) protection: Protection,
}

/// One part of a recording.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SealedPart {
    /// "media", "waveform", "transcript".
    pub(crate) name: String,
    /// Its media type.
    pub(crate) content_type: String,
    /// Bytes of its plaintext.
    pub(crate) bytes: u64,
}

/// What protects a recording.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protection {
    /// Who holds its key.
    pub(crate) provider: String,
    /// What that provider calls itself.
    pub(crate) provider_name: String,
    /// Which key.
    pub(crate) kek_id: String,
    /// How its DEK is wrapped.
    pub(crate) wrap_algorithm: String,
    /// "128-bit" or "AES-256, post-quantum".
    pub(crate) strength: String,
    /// Whether that algorithm is kept for old key services only.
    pub(crate) legacy: bool,
    /// The tenant's policy.
    pub(crate) policy: String,
    /// How its bytes are sealed.
    pub(crate) body_cipher: String,
    /// Counts re-wraps.
    pub(crate) generation: u32,
}

/// Where a recording is played from.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Playback {
    /// The media, relative to this server.
    pub(crate) media_uri: String,
    /// Peaks, BBC audiowaveform JSON v2.
    pub(crate) waveform_uri: Option<String>,
    /// The transcript.
    pub(crate) transcript_uri: Option<String>,
    /// Until when.
    pub(crate) expires: String,
}

/// A page of audit events, newest first.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditPage {
    /// The events.
    pub(crate) entities: Vec<AuditEntry>,
    /// Where the next page is; `null` at the end.
    pub(crate) next_uri: Option<String>,
}

/// One event.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEntry {
    /// Its id.
    pub(crate) id: String,
    /// When.
    pub(crate) at: String,
    /// What.
    pub(crate) action: String,
    /// Whose recording or key.
    pub(crate) tenant: Option<String>,
    /// Who, as an opaque id.
    pub(crate) subject: String,
    /// Which recording.
    pub(crate) recording: Option<String>,
    /// "ok", or an error class.
    pub(crate) outcome: String,
    /// More, by name.
    #[schema(value_type = Object)]
    pub(crate) fields: serde_json::Map<String, serde_json::Value>,
    /// Its number in the server's log, from 1, without gaps; other organisations' events have
    /// numbers too.
    pub(crate) seq: u64,
    /// Its hash in the log's chain, 64 hex digits; `null` where somebody took it out.
    pub(crate) hash: Option<String>,
}

impl From<&Recording> for RecordingSummary {
    fn from(recording: &Recording) -> Self {
        let details = &recording.details;
        let part = |name: &str| {
            recording
                .parts
                .iter()
                .find(|part| part.name.as_str() == name)
        };
        Self {
            id: recording.id.to_string(),
            tenant: recording.tenant.to_string(),
            conversation_id: recording.conversation_id.clone(),
            media: media_name(recording.media).to_owned(),
            content_type: part("media").map_or_else(String::new, |p| p.content_type.to_string()),
            start_time: time(recording.start_ms),
            duration_ms: recording.duration_ms,
            provider: recording.provider.to_string(),
            kek_id: recording.kek.to_string(),
            wrap_algorithm: recording.wrap_algorithm.clone(),
            direction: details.direction.clone(),
            queue: details.queue.clone(),
            subject: details.subject.clone(),
            channels: details.channels.iter().map(SpeakerChannel::from).collect(),
            labels: details.labels.clone(),
            has_transcript: part("transcript").is_some(),
        }
    }
}

impl From<&Channel> for SpeakerChannel {
    fn from(channel: &Channel) -> Self {
        Self {
            channel: channel.channel,
            role: channel.role.clone(),
            name: channel.name.clone(),
            address: channel.address.clone(),
        }
    }
}

impl From<&Span> for MarkedSpan {
    fn from(span: &Span) -> Self {
        Self {
            reason: span.reason.clone(),
            start_ms: span.start_ms,
            end_ms: span.end_ms,
            description: span.description.clone(),
        }
    }
}

impl From<&Part> for SealedPart {
    fn from(part: &Part) -> Self {
        Self {
            name: part.name.to_string(),
            content_type: part.content_type.to_string(),
            bytes: part.plaintext_len,
        }
    }
}

/// A kind's name.
fn media_name(media: Media) -> &'static str {
    match media {
        Media::Call => "call",
        Media::Chat => "chat",
        Media::Email => "email",
        Media::Message => "message",
        Media::Screen => "screen",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_in_utc_with_milliseconds() {
        assert_eq!(super::time(1_793_697_164_007), "2026-11-03T09:12:44.007Z");
        assert_eq!(super::time(0), "1970-01-01T00:00:00.000Z");
    }
}
