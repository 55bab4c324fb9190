//! Small files that ask for much: tables, tags, days of audio, hours of work.

use std::io::Cursor;
use std::time::Duration;

use super::super::bounds::Bounds;
use super::super::{Analysis, Undecodable, analyse, decode, vorbis};
use super::{CALL, CASES, ffmpeg};

fn within(bytes: Vec<u8>, bounds: Bounds) -> Result<Analysis, Undecodable> {
    decode::analyse(Cursor::new(bytes), bounds)
}

fn reason(result: Result<Analysis, Undecodable>) -> String {
    result.expect_err("more than audio may take").reason
}

fn chunk(id: &[u8; 4], contents: &[u8]) -> Vec<u8> {
    let len = u32::try_from(contents.len()).unwrap().to_le_bytes();
    let padding = &[0][..contents.len() % 2];
    [id, &len[..], contents, padding].concat()
}

/// A WAV file of µ-law, one channel, with `more` chunks before its data.
fn wav(sample_rate: u32, more: &[u8], samples: usize) -> Vec<u8> {
    let rate = sample_rate.to_le_bytes();
    let format = [&[7, 0, 1, 0][..], &rate, &rate, &[1, 0, 8, 0, 0, 0]].concat();
    let chunks = [
        b"WAVE".to_vec(),
        chunk(b"fmt ", &format),
        more.to_vec(),
        chunk(b"data", &vec![0x55; samples]),
    ];
    chunk(b"RIFF", &chunks.concat())
}

#[test]
fn every_codec_ends_where_the_day_does() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["mulaw.wav", "cbr.mp3", "vorbis.ogg", "hybrid.opus"];
    for case in CASES.iter().filter(|case| names.contains(&case.name)) {
        let path = folder.path().join(case.name);
        let input = format!("{CALL}:d=6:s=48000");
        ffmpeg(&["-f", "lavfi", "-i", &input], case.arguments, &path);
        let bytes = std::fs::read(&path).unwrap();
        let bounds = |seconds| Bounds {
            seconds,
            ..Bounds::default()
        };
        assert!(within(bytes.clone(), bounds(7)).is_ok(), "{}", case.name);
        let answer = reason(within(bytes, bounds(5)));
        assert!(answer.contains("longer than"), "{}: {answer}", case.name);
    }
    // A day at one sample a second is 86 kB.
    let day = 24 * 60 * 60;
    assert!(analyse(Cursor::new(wav(1, &[], day - 1))).is_ok());
    let answer = reason(analyse(Cursor::new(wav(1, &[], day))));
    assert_eq!(answer, "it is longer than 24 hours");
    let answer = reason(analyse(Cursor::new(wav(u32::MAX, &[], 10))));
    assert_eq!(answer, "its sample rate is 4294967295 Hz");
}

#[test]
fn work_has_its_time_and_waiting_is_none() {
    struct Slow(Cursor<Vec<u8>>);
    impl std::io::Read for Slow {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            std::thread::sleep(Duration::from_millis(300));
            self.0.read(buf)
        }
    }
    let bytes = wav(8000, &[], 8000);
    let bounds = Bounds {
        work: Duration::ZERO,
        ..Bounds::default()
    };
    let answer = reason(within(bytes.clone(), bounds));
    assert_eq!(answer, "it takes too long to decode");
    let bounds = Bounds {
        work: Duration::from_millis(250),
        ..Bounds::default()
    };
    assert!(decode::analyse(Slow(Cursor::new(bytes)), bounds).is_ok());
}

#[test]
fn tags_end_somewhere() {
    // Ten bytes in the file, a hundred and more in memory.
    let list = |tags: usize| {
        let tag = chunk(b"ICMT", b"x");
        chunk(b"LIST", &[&b"INFO"[..], &tag.repeat(tags)].concat())
    };
    assert!(analyse(Cursor::new(wav(8000, &list(100_000), 8000))).is_ok());
    let answer = reason(analyse(Cursor::new(wav(8000, &list(300_000), 8000))));
    assert!(answer.contains("without audio"), "{answer}");
    // Nor does a chunk that is passed over, or an ID3 tag before an MP3.
    let junk = chunk(b"JUNK", &vec![0; 3 << 20]);
    let answer = reason(analyse(Cursor::new(wav(8000, &junk, 8000))));
    assert!(answer.contains("without audio"), "{answer}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("call.mp3");
    let input = format!("{CALL}:d=2:s=48000");
    ffmpeg(
        &["-f", "lavfi", "-i", &input],
        &["-c:a", "libmp3lame"],
        &path,
    );
    let audio = std::fs::read(&path).unwrap();
    let tagged = |frames: usize| {
        let frames = b"TIT2\0\0\0\x02\0\0\0x".repeat(frames);
        let len = u32::try_from(frames.len()).unwrap();
        let len = [21, 14, 7, 0].map(|shift| u8::try_from(len >> shift & 0x7f).unwrap());
        [&b"ID3\x04\0\0"[..], &len, &frames, &audio].concat()
    };
    assert!(analyse(Cursor::new(tagged(50_000))).is_ok());
    assert!(analyse(Cursor::new(tagged(250_000))).is_err());
}

#[test]
fn vorbis_tables_end_somewhere() {
    for (books, refused) in [(1, false), (8, true), (256, true)] {
        let setup = setup_of(books, 1 << 16, 18);
        let headers = [&identification()[..], &setup].concat();
        assert!(setup.len() < 30 + books * 25);
        assert_eq!(vorbis::check_setup(&headers).is_err(), refused, "{books}");
    }
    // Many codewords without vectors, too.
    let headers = [&identification()[..], &setup_of(5, 1 << 15, 0)].concat();
    assert!(vorbis::check_setup(&headers).is_err());
    assert!(vorbis::check_setup(&headers[..80]).is_err());
    assert!(vorbis::check_setup(b"").is_err());

    // As a file. The decoder would have unpacked 72 MiB before it found that more is missing.
    let setup = setup_of(8, 1 << 17, 18);
    let mut comment = b"\x03vorbis".to_vec();
    comment.extend([0, 0, 0, 0, 0, 0, 0, 0, 1]);
    let file = [
        page(2, 0, &[&identification()]),
        page(0, 1, &[&comment, &setup]),
        page(4, 2, &[&[0; 40]]),
    ];
    let answer = reason(analyse(Cursor::new(file.concat())));
    assert_eq!(answer, "its Vorbis codebooks are too large");
}

#[test]
fn what_libvorbis_writes_takes_far_less() {
    let folder = tempfile::tempdir().unwrap();
    let mut most = (0, 0);
    for quality in ["-1", "2", "6", "10"] {
        for (rate, channels) in [("8000", "1"), ("8000", "2"), ("44100", "1"), ("48000", "6")] {
            let path = folder.path().join("call.ogg");
            let input = format!("anoisesrc=d=0.2:r={rate}");
            let arguments = ["-ac", channels, "-c:a", "libvorbis", "-q:a", quality];
            ffmpeg(&["-f", "lavfi", "-i", &input], &arguments, &path);
            let bytes = std::fs::read(&path).unwrap();
            // Its pages laid end to end, without their headers.
            let mut packets = Vec::new();
            let mut rest = bytes.as_slice();
            while let Some(after) = rest.strip_prefix(b"OggS") {
                let segments = usize::from(after[22]);
                let len: usize = after[23..23 + segments]
                    .iter()
                    .map(|&l| usize::from(l))
                    .sum();
                packets.extend_from_slice(&after[23 + segments..23 + segments + len]);
                rest = &after[23 + segments + len..];
            }
            let at = packets.windows(7).position(|w| w == b"\x05vorbis").unwrap();
            let size = vorbis::Size::of(&packets[at + 7..]).unwrap();
            most = (most.0.max(size.entries), most.1.max(size.values));
        }
    }
    let (entries, values) = most;
    eprintln!("at most {entries} codewords, {values} values");
    assert!(entries > 1000 && values > 1000, "{most:?}");
    assert!(
        entries < (1 << 17) / 4 && values < (1 << 21) / 4,
        "{most:?}"
    );
}

fn identification() -> [u8; 30] {
    let mut header = [0; 30];
    header[..7].copy_from_slice(b"\x01vorbis");
    header[11] = 1;
    header[12..16].copy_from_slice(&8000u32.to_le_bytes());
    header[28] = 0xB8;
    header[29] = 1;
    header
}

/// A setup header as far as its codebooks: `books` of them, each with `entries` codewords of one
/// length and, unless there are 0 dimensions, a vector for each.
fn setup_of(books: usize, entries: u32, dimensions: u32) -> Vec<u8> {
    let mut bits = Vec::new();
    let mut put = |value: u32, count: u32| {
        bits.extend((0..count).map(|place| value >> place & 1 == 1));
    };
    put(u32::try_from(books - 1).unwrap(), 8);
    for _ in 0..books {
        put(0x56_4342, 24);
        put(dimensions.max(1), 16);
        put(entries, 24);
        put(1, 1);
        put(entries.trailing_zeros() - 1, 5);
        put(entries, 32 - entries.leading_zeros());
        put(u32::from(dimensions > 0), 4);
        if dimensions > 0 {
            // Least value, step, bits of a number less one, no sums; then the one number there is.
            put(0, 32);
            put(0, 32);
            put(0, 4);
            put(0, 1);
            put(0, 1);
        }
    }
    let bytes = bits.chunks(8).map(|byte| {
        let places = byte.iter().enumerate();
        places.fold(0, |value, (place, &bit)| value | u8::from(bit) << place)
    });
    [&b"\x05vorbis"[..], &bytes.collect::<Vec<u8>>()].concat()
}

/// An Ogg page (RFC 3533) of whole packets.
fn page(flags: u8, sequence: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut segments = Vec::new();
    for packet in packets {
        segments.extend(std::iter::repeat_n(255, packet.len() / 255));
        segments.push(u8::try_from(packet.len() % 255).unwrap());
    }
    let mut page = [&b"OggS\0"[..], &[flags], &[0; 8], &[7, 0, 0, 0]].concat();
    page.extend(sequence.to_le_bytes());
    page.extend([0; 4]);
    page.push(u8::try_from(segments.len()).unwrap());
    page.extend(segments);
    page.extend(packets.concat());
    let mut sum = 0u32;
    for byte in &page {
        sum ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            sum = sum << 1 ^ if sum >> 31 == 1 { 0x04C1_1DB7 } else { 0 };
        }
    }
    page[22..26].copy_from_slice(&sum.to_le_bytes());
    page
}
