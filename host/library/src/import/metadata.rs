//! What stands beside a recording: its metadata and its transcript, JSON written by others.

use keyreel_format::{ContentType, RecordingId};

use crate::catalogue::{Channel, Details, Media, Span};

/// `<name>.json`. Times are RFC 3339, durations milliseconds.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Metadata {
    /// Its id; otherwise one is made from the file.
    pub recording_id: Option<RecordingId>,
    /// The conversation it belongs to; otherwise one of its own.
    pub conversation_id: Option<String>,
    /// What kind: "call" where it does not say.
    pub media: Media,
    /// When the conversation started; otherwise when the file was last written.
    #[serde(deserialize_with = "time")]
    pub start_time: Option<jiff::Timestamp>,
    /// How long it is, for media that are not decoded.
    pub duration_ms: Option<u64>,
    /// What it is said to be; the bytes have the last word.
    pub content_type: Option<ContentType>,
    /// "inbound" or "outbound".
    pub direction: Option<Direction>,
    /// The queue that it came through.
    pub queue: Option<String>,
    /// What it was about.
    pub subject: Option<String>,
    /// Free labels.
    pub labels: Vec<String>,
    /// Who spoke on which channel.
    pub channels: Vec<Channel>,
    /// Holds, secure pauses and the like.
    pub spans: Vec<Span>,
}

/// Who called whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The customer called.
    Inbound,
    /// The agent called.
    Outbound,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            recording_id: None,
            conversation_id: None,
            media: Media::Call,
            start_time: None,
            duration_ms: None,
            content_type: None,
            direction: None,
            queue: None,
            subject: None,
            labels: Vec::new(),
            channels: Vec::new(),
            spans: Vec::new(),
        }
    }
}

/// The parser's own words name neither the field nor the text.
fn time<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<jiff::Timestamp>, D::Error> {
    let Some(text) = <Option<String> as serde::Deserialize>::deserialize(source)? else {
        return Ok(None);
    };
    let parsed = text.parse().map_err(|_| {
        let text: String = text.chars().take(40).collect();
        serde::de::Error::custom(format!("{text:?} is not a time like 2026-11-03T09:12:44Z"))
    })?;
    Ok(Some(parsed))
}

const SPAN_REASONS: [&str; 4] = ["Hold", "SecurePause", "FlowOrQueue", "Pause"];

/// What a person reads in a list. More is a mistake, or somebody who wants memory used.
const MAX_TEXT: usize = 512;
const MAX_LABELS: usize = 64;
const MAX_CHANNELS: usize = 64;
const MAX_SPANS: usize = 1000;

impl Metadata {
    fn check_sizes(&self) -> Result<(), String> {
        let counts = [
            ("labels", self.labels.len(), MAX_LABELS),
            ("channels", self.channels.len(), MAX_CHANNELS),
            ("spans", self.spans.len(), MAX_SPANS),
        ];
        for (name, count, most) in counts {
            if count > most {
                return Err(format!("{name}: {count} of them, expected at most {most}"));
            }
        }
        let texts = [&self.queue, &self.subject].into_iter().flatten();
        let texts = texts.chain(&self.labels);
        let texts = texts.chain(self.channels.iter().flat_map(|channel| {
            [
                Some(&channel.role),
                channel.name.as_ref(),
                channel.address.as_ref(),
            ]
            .into_iter()
            .flatten()
        }));
        let mut texts = texts.chain(
            self.spans
                .iter()
                .filter_map(|span| span.description.as_ref()),
        );
        match texts.find(|text| text.len() > MAX_TEXT) {
            Some(_) => Err(format!("a text is longer than {MAX_TEXT} bytes")),
            None => Ok(()),
        }
    }

    /// Parses and checks; the error says what is wrong, and where.
    ///
    /// # Errors
    /// Not JSON, a field that is not known, a value that makes no sense.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let metadata: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if metadata
            .start_time
            .is_some_and(|time| time.as_millisecond() < 0)
        {
            return Err("startTime: before 1970".to_owned());
        }
        if let Some(id) = &metadata.conversation_id
            && !(1..=128).contains(&id.len())
        {
            return Err("conversationId: expected 1 to 128 bytes".to_owned());
        }
        metadata.check_sizes()?;
        for (index, channel) in metadata.channels.iter().enumerate() {
            let same = |other: &&Channel| other.channel == channel.channel;
            if metadata.channels.iter().take(index).find(same).is_some() {
                return Err(format!("channels: {} stands there twice", channel.channel));
            }
        }
        for (index, span) in metadata.spans.iter().enumerate() {
            if span.end_ms <= span.start_ms {
                return Err(format!("spans: number {index} ends before it begins"));
            }
            if !SPAN_REASONS.contains(&span.reason.as_str()) {
                let known = SPAN_REASONS.join(", ");
                return Err(format!("spans: {:?} is not one of {known}", span.reason));
            }
        }
        Ok(metadata)
    }

    pub(super) fn start_ms(&self) -> Option<u64> {
        self.start_time
            .and_then(|time| u64::try_from(time.as_millisecond()).ok())
    }

    pub(super) fn into_details(self) -> Details {
        Details {
            direction: self.direction.map(|direction| match direction {
                Direction::Inbound => "inbound".to_owned(),
                Direction::Outbound => "outbound".to_owned(),
            }),
            queue: self.queue,
            subject: self.subject,
            channels: self.channels,
            spans: self.spans,
            labels: self.labels,
        }
    }
}

/// What a player relies on in a transcript; whatever else it holds is kept.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transcript {
    version: u32,
    utterances: Vec<Utterance>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Utterance {
    start_ms: u64,
    end_ms: u64,
    #[expect(dead_code, reason = "parsed to see that it is there")]
    text: String,
}

pub(super) fn check_transcript(json: &[u8]) -> Result<(), String> {
    let transcript: Transcript = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if transcript.version != 1 {
        return Err(format!("version {} is not known, 1 is", transcript.version));
    }
    let backwards = |utterance: &&Utterance| utterance.end_ms < utterance.start_ms;
    match transcript.utterances.iter().find(backwards) {
        Some(utterance) => Err(format!(
            "the utterance at {} ms ends before it begins",
            utterance.start_ms
        )),
        None => Ok(()),
    }
}
