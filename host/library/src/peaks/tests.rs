//! Our decoders against ffmpeg's: the same file, decoded by both, must draw the same waveform.

mod bombs;

use std::io::Cursor;
use std::path::Path;
use std::process::Command;

use super::waveform::Builder;
use super::*;

/// What a call is like: two voices that take turns, one of them louder, with pauses.
const CALL: &str = "aevalsrc=exprs=\
    0.6*sin(2*PI*(180+60*sin(3*t))*t)*gt(sin(1.3*t)\\,0)+0.1*sin(2*PI*1900*t)*gt(sin(7*t)\\,0.6)|\
    0.3*(random(0)-0.5)*gt(sin(1.3*t)\\,0.2)+0.25*sin(2*PI*320*t)*lt(sin(1.3*t)\\,-0.3)";

struct Case {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Greatest difference of a pixel, of 128. What loses nothing may differ by rounding alone.
    tolerance: i16,
}

const WAV: i16 = 1;
const LOSSY: i16 = 3;

const CASES: [Case; 19] = [
    case("pcm16-8k.wav", &["-ar", "8000", "-c:a", "pcm_s16le"], WAV),
    case(
        "pcm16-mono.wav",
        &["-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le"],
        WAV,
    ),
    case("pcm8.wav", &["-ar", "8000", "-c:a", "pcm_u8"], WAV),
    case("pcm24.wav", &["-ar", "48000", "-c:a", "pcm_s24le"], WAV),
    case("float.wav", &["-ar", "44100", "-c:a", "pcm_f32le"], WAV),
    case("mulaw.wav", &["-ar", "8000", "-c:a", "pcm_mulaw"], WAV),
    case("alaw.wav", &["-ar", "8000", "-c:a", "pcm_alaw"], WAV),
    case(
        "mulaw-mono.wav",
        &["-ac", "1", "-ar", "8000", "-c:a", "pcm_mulaw"],
        WAV,
    ),
    case(
        "cbr.mp3",
        &["-ar", "44100", "-c:a", "libmp3lame", "-b:a", "128k"],
        LOSSY,
    ),
    // MPEG 2.5, as small calls are.
    case(
        "low.mp3",
        &["-ar", "8000", "-c:a", "libmp3lame", "-b:a", "24k"],
        LOSSY,
    ),
    case(
        "vbr.mp3",
        &["-ar", "22050", "-c:a", "libmp3lame", "-q:a", "4"],
        LOSSY,
    ),
    case(
        "mono.mp3",
        &["-ac", "1", "-ar", "16000", "-c:a", "libmp3lame"],
        LOSSY,
    ),
    case(
        "vorbis.ogg",
        &["-ar", "44100", "-c:a", "libvorbis", "-q:a", "4"],
        LOSSY,
    ),
    case(
        "vorbis-8k.ogg",
        &["-ar", "8000", "-c:a", "libvorbis"],
        LOSSY,
    ),
    // SILK alone, SILK and CELT, CELT alone, in mono and stereo.
    case(
        "silk.opus",
        &[
            "-ac",
            "1",
            "-c:a",
            "libopus",
            "-b:a",
            "12k",
            "-application",
            "voip",
        ],
        LOSSY,
    ),
    case(
        "silk2.opus",
        &["-c:a", "libopus", "-b:a", "20k", "-application", "voip"],
        LOSSY,
    ),
    case(
        "hybrid.opus",
        &["-c:a", "libopus", "-b:a", "40k", "-application", "voip"],
        LOSSY,
    ),
    case(
        "celt.ogg",
        &["-c:a", "libopus", "-b:a", "96k", "-application", "audio"],
        LOSSY,
    ),
    case(
        "celt-short.opus",
        &[
            "-c:a",
            "libopus",
            "-application",
            "lowdelay",
            "-frame_duration",
            "5",
        ],
        LOSSY,
    ),
];

const fn case(name: &'static str, arguments: &'static [&'static str], tolerance: i16) -> Case {
    Case {
        name,
        arguments,
        tolerance,
    }
}

#[test]
fn every_codec_draws_what_ffmpeg_hears() {
    let folder = tempfile::tempdir().unwrap();
    let mut failures = Vec::new();
    for case in CASES {
        let path = folder.path().join(case.name);
        ffmpeg(
            &["-f", "lavfi", "-i", &format!("{CALL}:d=6:s=48000")],
            case.arguments,
            &path,
        );
        let bytes = std::fs::read(&path).unwrap();
        let analysis = match analyse(Cursor::new(bytes)) {
            Ok(analysis) => analysis,
            Err(error) => {
                failures.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        let ours = &analysis.waveform;
        let reference = reference(&path, ours.channels(), ours.sample_rate());
        if let Err(difference) = compare(ours, &reference, case.tolerance) {
            failures.push(format!("{}: {difference}", case.name));
        }
        if !(5_900..=6_100).contains(&analysis.duration_ms) || analysis.warning.is_some() {
            failures.push(format!(
                "{}: {} ms, {:?}",
                case.name, analysis.duration_ms, analysis.warning
            ));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn the_opus_cases_cover_its_three_modes() {
    let folder = tempfile::tempdir().unwrap();
    let mut modes = std::collections::BTreeSet::new();
    for case in CASES
        .iter()
        .filter(|case| case.arguments.contains(&"libopus"))
    {
        let path = folder.path().join(case.name);
        ffmpeg(
            &["-f", "lavfi", "-i", &format!("{CALL}:d=3:s=48000")],
            case.arguments,
            &path,
        );
        let bytes = std::fs::read(&path).unwrap();
        // The first byte of the third page's packet: configuration (RFC 6716, table 2).
        let pages: Vec<_> = (0..bytes.len())
            .filter(|&at| bytes[at..].starts_with(b"OggS"))
            .collect();
        let page = &bytes[pages[2]..];
        let configuration = page[27 + usize::from(page[26])] >> 3;
        modes.insert(match configuration {
            0..=11 => "silk",
            12..=15 => "hybrid",
            _ => "celt",
        });
    }
    assert_eq!(
        modes.into_iter().collect::<Vec<_>>(),
        ["celt", "hybrid", "silk"]
    );
}

#[test]
fn audio_that_is_cut_off_is_drawn_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    for case in CASES.iter().filter(|case| {
        [
            "pcm16-8k.wav",
            "mulaw.wav",
            "cbr.mp3",
            "vorbis.ogg",
            "hybrid.opus",
        ]
        .contains(&case.name)
    }) {
        let path = folder.path().join(case.name);
        ffmpeg(
            &["-f", "lavfi", "-i", &format!("{CALL}:d=6:s=48000")],
            case.arguments,
            &path,
        );
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(bytes.len() / 2);
        let analysis = analyse(Cursor::new(bytes)).unwrap();
        assert!(
            (1000..5000).contains(&analysis.duration_ms),
            "{}: {analysis:?}",
            case.name
        );
    }
}

#[test]
fn hostile_bytes_end_in_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    for case in &CASES {
        let path = folder.path().join(case.name);
        ffmpeg(
            &["-f", "lavfi", "-i", &format!("{CALL}:d=1:s=48000")],
            case.arguments,
            &path,
        );
        let good = std::fs::read(&path).unwrap();
        // A small generator of our own, so that a failure can be repeated.
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for _ in 0..12 {
            let mut bytes = good.clone();
            for _ in 0..20 {
                let at = random(bytes.len());
                bytes[at] = u8::try_from(random(256)).unwrap();
            }
            bytes.truncate(1 + random(bytes.len()));
            // A panic here is contained by `Tap`; any answer will do.
            let answer = std::panic::catch_unwind(|| analyse(Cursor::new(bytes)));
            if let Ok(Ok(analysis)) = answer {
                assert!(analysis.waveform.length() <= 20_000);
            }
        }
    }
}

#[tokio::test]
async fn a_tap_gives_the_same_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.opus");
    ffmpeg(
        &["-f", "lavfi", "-i", &format!("{CALL}:d=3:s=48000")],
        CASES[16].arguments,
        &path,
    );
    let bytes = Bytes::from(std::fs::read(&path).unwrap());
    let mut tap = Tap::open();
    for piece in bytes.chunks(777) {
        tap.feed(Bytes::copy_from_slice(piece)).await;
    }
    assert_eq!(tap.finish().await, analyse(Cursor::new(bytes)));

    let mut tap = Tap::open();
    for _ in 0..1000 {
        tap.feed(Bytes::from_static(&[0; 4096])).await;
    }
    assert!(tap.finish().await.is_err());
    assert!(Tap::open().finish().await.is_err());
}

/// ffmpeg's samples through the same pixels.
fn reference(path: &Path, channels: usize, sample_rate: u32) -> Waveform {
    let decoder: &[&str] = if is_opus(path) {
        &["-c:a", "libopus"]
    } else {
        &[]
    };
    let output = Command::new("ffmpeg")
        .args(["-v", "error"])
        .args(decoder)
        .arg("-i")
        .arg(path)
        .args(["-f", "f32le", "-c:a", "pcm_f32le", "-"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let samples: Vec<f32> = output
        .stdout
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&bytes| f32::from_le_bytes(bytes))
        .collect();
    let mut builder = Builder::new(channels, sample_rate);
    builder.push(&samples);
    builder.finish()
}

fn is_opus(path: &Path) -> bool {
    std::fs::read(path)
        .unwrap()
        .windows(8)
        .take(100)
        .any(|window| window == b"OpusHead")
}

fn compare(ours: &Waveform, reference: &Waveform, tolerance: i16) -> Result<(), String> {
    // A lossy codec's padding is cut by some decoders and not by others: a few pixels at the end.
    if ours.length().abs_diff(reference.length()) > 8 {
        return Err(format!(
            "{} pixels, ffmpeg {}",
            ours.length(),
            reference.length()
        ));
    }
    let differences: Vec<i16> = ours
        .data()
        .iter()
        .zip(reference.data())
        .map(|(&a, &b)| (i16::from(a) - i16::from(b)).abs())
        .collect();
    let pixel = 2 * ours.channels();
    // At the very end one of the two may have ended.
    let compared = &differences[..differences.len().saturating_sub(8 * pixel)];
    let worst = compared.iter().copied().max().unwrap_or(i16::MAX);
    let loudest = ours
        .data()
        .iter()
        .map(|value| value.unsigned_abs())
        .max()
        .unwrap_or(0);
    if worst > tolerance || loudest < 20 {
        let at = compared.iter().position(|&difference| difference == worst);
        let at = at.map(|at| at / pixel);
        return Err(format!(
            "differs by {worst} at pixel {at:?}; loudest is {loudest}"
        ));
    }
    Ok(())
}

pub(crate) fn ffmpeg(input: &[&str], arguments: &[&str], output: &Path) {
    let result = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(input)
        .args(arguments)
        .arg(output)
        .output()
        .expect("ffmpeg is needed to run this test");
    assert!(
        result.status.success(),
        "{}",
        String::from_utf8_lossy(&result.stderr)
    );
}
