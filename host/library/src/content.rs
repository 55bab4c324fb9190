//! What a stream of bytes is, by its content: a file's name says what somebody hoped.
//! Not for: decoding it.

use keyreel_format::ContentType;

use crate::Error;

/// Bytes from the start that show what a stream is.
pub(crate) const SNIFF_LEN: usize = 64;

/// What a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sniffed {
    Wav,
    Mp3,
    OggOpus,
    OggVorbis,
    Ogg,
    Flac,
    Mp4,
    WebM,
}

impl Sniffed {
    /// As the media type of something to listen to.
    pub(crate) fn audio_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
            Self::OggOpus => "audio/ogg; codecs=opus",
            Self::OggVorbis => "audio/ogg; codecs=vorbis",
            Self::Ogg => "audio/ogg",
            Self::Flac => "audio/flac",
            Self::Mp4 => "audio/mp4",
            Self::WebM => "audio/webm",
        }
    }

    /// As the media type of something to watch.
    pub(crate) fn video_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::WebM => "video/webm",
            other => other.audio_type(),
        }
    }

    /// Whether `peaks` has a decoder for it.
    pub(crate) fn is_decoded(self) -> bool {
        !matches!(self, Self::Flac | Self::Mp4 | Self::WebM)
    }
}

/// Looks at the first [`SNIFF_LEN`] bytes, or fewer where there are no more.
pub(crate) fn sniff(start: &[u8]) -> Option<Sniffed> {
    let at = |offset: usize, magic: &[u8]| {
        start
            .get(offset..)
            .is_some_and(|rest| rest.starts_with(magic))
    };
    if at(8, b"WAVE") && (at(0, b"RIFF") || at(0, b"RF64") || at(0, b"RIFX")) {
        Some(Sniffed::Wav)
    } else if at(0, b"OggS") {
        // The first page holds the first packet alone, behind a table of its segments.
        let segments = start.get(26).copied().map_or(0, usize::from);
        let packet = 27 + segments;
        Some(match () {
            () if at(packet, b"OpusHead") => Sniffed::OggOpus,
            () if at(packet, b"\x01vorbis") => Sniffed::OggVorbis,
            () => Sniffed::Ogg,
        })
    } else if at(0, b"fLaC") {
        Some(Sniffed::Flac)
    } else if at(4, b"ftyp") {
        Some(Sniffed::Mp4)
    } else if at(0, &[0x1A, 0x45, 0xDF, 0xA3]) {
        Some(Sniffed::WebM)
    } else if at(0, b"ID3") || is_mpeg_audio_frame(start) {
        Some(Sniffed::Mp3)
    } else {
        None
    }
}

/// The name of something that is clearly no media, for the message.
pub(crate) fn mistaken_for(start: &[u8]) -> &'static str {
    match start {
        [b'P', b'K', 3 | 5, ..] => "a zip archive",
        [0x1F, 0x8B, ..] => "gzip",
        [b'%', b'P', b'D', b'F', ..] => "a PDF",
        [0x89, b'K', b'R', b'C', ..] => "a sealed recording",
        [b'{' | b'[' | b'<', ..] => "text",
        [0x7F, b'E', b'L', b'F', ..] | [b'M', b'Z', ..] => "a program",
        _ => "no audio that we know",
    }
}

/// Header of an MPEG audio frame: 11 bits of sync, then no reserved value (ISO 11172-3, 2.4.1.3).
fn is_mpeg_audio_frame(start: &[u8]) -> bool {
    let &[0xFF, b1, b2, ..] = start else {
        return false;
    };
    let version = (b1 >> 3) & 3;
    let layer = (b1 >> 1) & 3;
    b1 & 0xE0 == 0xE0 && version != 1 && layer == 1 && b2 >> 4 != 15 && (b2 >> 2) & 3 != 3
}

pub(crate) fn content_type(text: &str) -> Result<ContentType, Error> {
    ContentType::parse(text).map_err(|error| Error::BadMedia {
        reason: format!("content type: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides() {
        let mut opus = b"OggS\0\x02".to_vec();
        opus.resize(26, 0);
        opus.extend([1, 19]);
        opus.extend(b"OpusHead");
        let table: [(&[u8], Option<Sniffed>); 12] = [
            (b"RIFF\x24\0\0\0WAVEfmt ", Some(Sniffed::Wav)),
            (b"RIFF\x24\0\0\0AVI LIST", None),
            (&opus, Some(Sniffed::OggOpus)),
            (b"OggS", Some(Sniffed::Ogg)),
            (b"ID3\x04\0\0", Some(Sniffed::Mp3)),
            (&[0xFF, 0xFB, 0x90, 0x64], Some(Sniffed::Mp3)),
            // AAC's ADTS has layer 0; a UTF-16 byte order mark has the reserved version.
            (&[0xFF, 0xF1, 0x50, 0x80], None),
            (&[0xFF, 0xFE, 0x41, 0x00], None),
            (b"\0\0\0\x20ftypisom", Some(Sniffed::Mp4)),
            (b"PK\x03\x04", None),
            (b"", None),
            (&[0xFF], None),
        ];
        for (start, expected) in table {
            assert_eq!(sniff(start), expected, "{start:?}");
        }
    }
}
