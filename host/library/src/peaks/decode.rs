//! From a stream of bytes to samples: container and codec, found by content.

use std::io::Read;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use super::bounds::{Bounds, Watch};
use super::waveform::Builder;
use super::{Analysis, Undecodable, opus, vorbis};

/// More is no call, and every one costs memory in the decoder.
const MAX_CHANNELS: usize = 8;

pub(super) fn analyse<R: Read + Send + Sync + 'static>(
    source: R,
    bounds: Bounds,
) -> Result<Analysis, Undecodable> {
    let watch = Watch::new(bounds);
    let source = watch.over(source);
    // Not seekable, as a body that is being received is not: every format must decode in one pass.
    let source = MediaSourceStream::new(Box::new(ReadOnlySource::new(source)), Default::default());
    let mut format = symphonia::default::get_probe()
        .probe(
            &Hint::new(),
            source,
            FormatOptions::default(),
            MetadataOptions::default(),
        )
        .map_err(|error| Undecodable::new(describe(&error)))?;
    let mut track = Track::of(format.as_ref())?;
    let mut builder = None;
    let mut damaged = 0u64;
    let end = loop {
        match format.next_packet() {
            Ok(Some(packet)) => {
                watch.packet()?;
                if packet.track_id != track.id {
                    continue;
                }
                match track.decode(&packet) {
                    Some(audio) => take(&mut builder, &audio, &watch)?,
                    None => damaged += 1,
                }
                // Comments may come again and again.
                format.metadata().skip_to_latest();
            }
            Ok(None) => break None,
            // Ogg streams that were written one after the other.
            Err(SymphoniaError::ResetRequired) => {
                watch.packet()?;
                track = Track::of(format.as_ref())?;
                format.metadata().skip_to_latest();
            }
            Err(error) => break Some(describe(&error)),
        }
    };
    let builder = builder
        .filter(|builder: &Builder| builder.frames() > 0)
        .ok_or_else(|| Undecodable::new(end.as_deref().unwrap_or("it holds no samples")))?;
    let duration_ms = milliseconds(builder.frames(), builder.sample_rate());
    let warning = match (end, damaged) {
        (Some(reason), _) => Some(format!(
            "the audio breaks off at {duration_ms} ms: {reason}"
        )),
        (None, 0) => None,
        (None, count) => Some(format!("{count} damaged packets of audio were left out")),
    };
    Ok(Analysis {
        waveform: builder.finish(),
        duration_ms,
        warning,
    })
}

/// The audio track under way, and its decoder.
struct Track {
    id: u32,
    decoder: Decoder,
    samples: Vec<f32>,
}

enum Decoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<opus::Decoder>),
}

/// Some decoded audio, interleaved.
struct Audio<'a> {
    channels: usize,
    sample_rate: u32,
    samples: &'a [f32],
}

impl Track {
    fn of(format: &dyn FormatReader) -> Result<Self, Undecodable> {
        let track = format
            .default_track(TrackType::Audio)
            .ok_or_else(|| Undecodable::new("it has no audio track that we know"))?;
        let Some(CodecParameters::Audio(parameters)) = &track.codec_params else {
            return Err(Undecodable::new("it has no audio track that we know"));
        };
        let decoder = if parameters.codec == CODEC_ID_OPUS {
            let header = parameters.extra_data.as_deref().unwrap_or_default();
            Decoder::Opus(Box::new(opus::Decoder::new(header)?))
        } else {
            if let Some(channels) = &parameters.channels {
                check_channels(channels.count())?;
            }
            if parameters.codec == CODEC_ID_VORBIS {
                vorbis::check_setup(parameters.extra_data.as_deref().unwrap_or_default())?;
            }
            symphonia::default::get_codecs()
                .make_audio_decoder(parameters, &AudioDecoderOptions::default())
                .map(Decoder::Symphonia)
                .map_err(|error| Undecodable::new(describe(&error)))?
        };
        Ok(Self {
            id: track.id,
            decoder,
            samples: Vec::new(),
        })
    }

    /// `None`: a damaged packet.
    fn decode(&mut self, packet: &Packet) -> Option<Audio<'_>> {
        match &mut self.decoder {
            Decoder::Symphonia(decoder) => {
                let audio = decoder.decode(packet).ok()?;
                audio.copy_to_vec_interleaved(&mut self.samples);
                Some(Audio {
                    channels: audio.num_planes(),
                    sample_rate: audio.spec().rate(),
                    samples: &self.samples,
                })
            }
            Decoder::Opus(decoder) => {
                let padding = usize::try_from(packet.trim_end.get()).unwrap_or(usize::MAX);
                let channels = decoder.channels();
                let samples = decoder.decode(&packet.data, padding)?;
                Some(Audio {
                    channels,
                    sample_rate: opus::SAMPLE_RATE,
                    samples,
                })
            }
        }
    }
}

fn take(
    builder: &mut Option<Builder>,
    audio: &Audio<'_>,
    watch: &Watch,
) -> Result<(), Undecodable> {
    if audio.samples.is_empty() || audio.sample_rate == 0 {
        return Ok(());
    }
    check_channels(audio.channels)?;
    let builder = builder.get_or_insert_with(|| Builder::new(audio.channels, audio.sample_rate));
    if builder.channels() != audio.channels || builder.sample_rate() != audio.sample_rate {
        return Err(Undecodable::new(
            "its channels or its sample rate change on the way",
        ));
    }
    builder.push(audio.samples);
    watch.frames(builder.frames(), builder.sample_rate())
}

pub(super) fn check_channels(channels: usize) -> Result<(), Undecodable> {
    if (1..=MAX_CHANNELS).contains(&channels) {
        return Ok(());
    }
    Err(Undecodable::new(format!(
        "{channels} channels, where 1 to {MAX_CHANNELS} are drawn"
    )))
}

fn milliseconds(frames: u64, sample_rate: u32) -> u64 {
    let ms = u128::from(frames) * 1000 / u128::from(sample_rate.max(1));
    u64::try_from(ms).unwrap_or(u64::MAX)
}

/// What a person can act on; not the words of a parser.
fn describe(error: &SymphoniaError) -> String {
    match error {
        SymphoniaError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it ends too early".to_owned()
        }
        SymphoniaError::IoError(error) if error.kind() == std::io::ErrorKind::Other => {
            error.to_string()
        }
        SymphoniaError::Unsupported(what) => format!("not supported: {what}"),
        other => other.to_string(),
    }
}
