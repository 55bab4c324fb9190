//! Opus in Ogg (RFC 7845): what its header says, and a decoder for its packets.

use ropus::OpusMSDecoder;

use super::Undecodable;

/// Opus always decodes at this rate, whatever was recorded.
pub(super) const SAMPLE_RATE: u32 = 48_000;
/// 120 ms, the longest packet (RFC 6716, section 3.1).
const MAX_FRAMES: i32 = 5760;

/// Decodes one stream's packets.
pub(super) struct Decoder {
    inner: OpusMSDecoder,
    channels: usize,
    /// Frames of lead-in still to come, which a player leaves out.
    skip: usize,
    decoded: Vec<i16>,
    samples: Vec<f32>,
}

impl Decoder {
    /// From the identification header (RFC 7845, section 5.1).
    pub(super) fn new(header: &[u8]) -> Result<Self, Undecodable> {
        let malformed = || Undecodable::new("malformed Opus header");
        let Some((b"OpusHead", rest)) = header.split_first_chunk::<8>() else {
            return Err(malformed());
        };
        let (
            &[
                _version,
                channels,
                skip_low,
                skip_high,
                _,
                _,
                _,
                _,
                gain_low,
                gain_high,
                family,
            ],
            rest,
        ) = rest.split_first_chunk::<11>().ok_or_else(malformed)?;
        super::decode::check_channels(usize::from(channels))?;
        let (streams, coupled, mapping) = match family {
            0 if channels == 1 => (1, 0, vec![0]),
            0 if channels == 2 => (1, 1, vec![0, 1]),
            1 | 255 => {
                let (&[streams, coupled], rest) =
                    rest.split_first_chunk::<2>().ok_or_else(malformed)?;
                let mapping = rest.get(..usize::from(channels)).ok_or_else(malformed)?;
                (streams, coupled, mapping.to_vec())
            }
            _ => return Err(malformed()),
        };
        // Each stream has a decoder of its own, and more than there are channels nobody hears.
        if streams > channels || coupled > streams {
            return Err(malformed());
        }
        let inner = OpusMSDecoder::new(
            SAMPLE_RATE.cast_signed(),
            i32::from(channels),
            i32::from(streams),
            i32::from(coupled),
            &mapping,
        );
        let mut inner = inner.map_err(|_| malformed())?;
        inner.set_gain(i32::from(i16::from_le_bytes([gain_low, gain_high])));
        let channels = usize::from(channels);
        let frames = usize::try_from(MAX_FRAMES).unwrap_or_default();
        Ok(Self {
            inner,
            channels,
            skip: usize::from(u16::from_le_bytes([skip_low, skip_high])),
            decoded: vec![0; frames * channels],
            samples: Vec::new(),
        })
    }

    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Decodes one packet, of which the last `padding` frames are not meant to be heard:
    /// interleaved samples. `None`: malformed; the next one may be well.
    pub(super) fn decode(&mut self, packet: &[u8], padding: usize) -> Option<&[f32]> {
        // Nothing would ask for concealment of a loss.
        let len = i32::try_from(packet.len()).ok().filter(|len| *len > 0)?;
        let decoded = self
            .inner
            .decode(Some(packet), len, &mut self.decoded, MAX_FRAMES, false);
        let frames = decoded
            .ok()
            .and_then(|frames| usize::try_from(frames).ok())?;
        let start = self.skip.min(frames);
        self.skip -= start;
        let end = frames.saturating_sub(padding).max(start);
        let heard = self
            .decoded
            .get(start * self.channels..end * self.channels)?;
        self.samples.clear();
        self.samples
            .extend(heard.iter().map(|&sample| f32::from(sample) / 32_768.0));
        Some(&self.samples)
    }
}
