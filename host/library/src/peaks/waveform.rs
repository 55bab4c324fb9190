//! Peaks in the shape of BBC audiowaveform's JSON, version 2, 8 bits: for each pixel the least and
//! the greatest sample of each channel.
//! Not for: decoding.

/// The peaks of one recording.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Waveform {
    version: u8,
    channels: usize,
    sample_rate: u32,
    samples_per_pixel: u32,
    bits: u8,
    length: usize,
    data: Vec<i8>,
}

impl Waveform {
    /// Channels, interleaved within each pixel.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Samples per second of the audio.
    #[must_use]
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// Samples of a channel that make one pixel.
    #[must_use]
    pub fn samples_per_pixel(&self) -> u32 {
        self.samples_per_pixel
    }

    /// Pixels.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// For each pixel, for each channel: least, greatest; -128 to 127.
    #[must_use]
    pub fn data(&self) -> &[i8] {
        &self.data
    }

    /// As JSON, as audiowaveform writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Numbers and fixed names: cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// As fine as a player zooms without decoding.
const PIXELS_PER_SECOND: u32 = 100;
/// Three minutes at the finest; a longer call gets coarser pixels, never more of them.
const MAX_PIXELS: usize = 20_000;

/// Takes samples as they are decoded, in bounded memory.
pub(super) struct Builder {
    channels: usize,
    sample_rate: u32,
    samples_per_pixel: u32,
    data: Vec<i8>,
    /// Least and greatest of each channel in the pixel under way.
    extremes: Vec<(f32, f32)>,
    in_pixel: u32,
    frames: u64,
}

const NOTHING: (f32, f32) = (f32::INFINITY, f32::NEG_INFINITY);

impl Builder {
    /// `channels` and `sample_rate` are not 0.
    pub(super) fn new(channels: usize, sample_rate: u32) -> Self {
        Self {
            channels,
            sample_rate,
            samples_per_pixel: (sample_rate / PIXELS_PER_SECOND).max(1),
            data: Vec::new(),
            extremes: vec![NOTHING; channels],
            in_pixel: 0,
            frames: 0,
        }
    }

    /// Takes interleaved samples, -1 to 1.
    pub(super) fn push(&mut self, samples: &[f32]) {
        for frame in samples.chunks_exact(self.channels) {
            for ((least, greatest), &sample) in self.extremes.iter_mut().zip(frame) {
                *least = least.min(sample);
                *greatest = greatest.max(sample);
            }
            self.in_pixel += 1;
            self.frames += 1;
            if self.in_pixel == self.samples_per_pixel {
                self.end_pixel();
            }
        }
    }

    pub(super) fn frames(&self) -> u64 {
        self.frames
    }

    pub(super) fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    pub(super) fn finish(mut self) -> Waveform {
        if self.in_pixel > 0 {
            self.end_pixel();
        }
        Waveform {
            version: 2,
            channels: self.channels,
            sample_rate: self.sample_rate,
            samples_per_pixel: self.samples_per_pixel,
            bits: 8,
            length: self.data.len() / (2 * self.channels),
            data: self.data,
        }
    }

    fn end_pixel(&mut self) {
        for (least, greatest) in &mut self.extremes {
            self.data.extend([quantise(*least), quantise(*greatest)]);
            (*least, *greatest) = NOTHING;
        }
        self.in_pixel = 0;
        if self.data.len() >= MAX_PIXELS * 2 * self.channels {
            self.halve();
        }
    }

    /// Two pixels become one.
    fn halve(&mut self) {
        let pixel = 2 * self.channels;
        let mut halved = Vec::with_capacity(self.data.len() / 2);
        for pair in self.data.chunks(2 * pixel) {
            let (first, second) = pair.split_at(pixel.min(pair.len()));
            for (index, &value) in first.iter().enumerate() {
                let other = second.get(index).copied().unwrap_or(value);
                halved.push(if index % 2 == 0 {
                    value.min(other)
                } else {
                    value.max(other)
                });
            }
        }
        self.data = halved;
        self.samples_per_pixel *= 2;
    }
}

fn quantise(sample: f32) -> i8 {
    // `as` from a float saturates, and makes NaN 0.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturating is what a clipped sample needs"
    )]
    let value = (sample * 128.0).round() as i8;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_audio_needs_no_more_than_a_short_call() {
        let mut builder = Builder::new(2, 8000);
        let second: Vec<f32> = (0..8000)
            .flat_map(|i| [(i as f32) / 8000.0, -0.25])
            .collect();
        for _ in 0..3600 {
            builder.push(&second);
        }
        assert_eq!(builder.frames(), 8000 * 3600);
        let waveform = builder.finish();
        assert!(waveform.length() <= MAX_PIXELS && waveform.length() >= MAX_PIXELS / 2);
        let covered = waveform.length() as u64 * u64::from(waveform.samples_per_pixel());
        assert!(
            (8000 * 3600..8000 * 3600 + u64::from(waveform.samples_per_pixel())).contains(&covered)
        );
        assert_eq!(waveform.data().len(), waveform.length() * 4);
        assert!(
            waveform
                .data()
                .chunks(4)
                .all(|pixel| pixel[2..] == [-32, -32])
        );
        let loudest = waveform.data().chunks(4).map(|pixel| pixel[1]).max();
        assert_eq!(loudest, Some(127));
    }

    #[test]
    fn silence_noise_and_nonsense_stay_in_range() {
        let mut builder = Builder::new(1, 100);
        builder.push(&[0.0, 1.0, -1.0, 7.0, -7.0, f32::NAN, f32::INFINITY]);
        assert_eq!(
            builder.finish().data(),
            [
                0, 0, 127, 127, -128, -128, 127, 127, -128, -128, 127, -128, 127, 127
            ]
        );
    }
}
