//! Sample recordings for tests.

use std::path::Path;

/// A mono 16-bit WAV of `frames` pseudo-random samples at 8 kHz; the same for the same `seed`.
#[must_use]
pub fn noise_wave(frames: u32, seed: u64) -> Vec<u8> {
    let data = frames * 2;
    let mut wave = Vec::new();
    wave.extend_from_slice(b"RIFF");
    wave.extend_from_slice(&(36 + data).to_le_bytes());
    wave.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wave.extend_from_slice(&8000_u32.to_le_bytes());
    wave.extend_from_slice(&16000_u32.to_le_bytes());
    wave.extend_from_slice(b"\x02\0\x10\0data");
    wave.extend_from_slice(&data.to_le_bytes());
    // SplitMix64: good enough for bytes that do not repeat.
    let mut state = seed;
    for _ in 0..frames {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let bytes = (z ^ (z >> 31)).to_le_bytes();
        wave.extend_from_slice(bytes.first_chunk::<2>().unwrap_or(&[0; 2]));
    }
    wave
}

/// Writes a recording and its metadata, as `keyreel import` reads them, into `folder`.
///
/// # Errors
/// The folder cannot be written.
pub fn write_recording(folder: &Path, name: &str, id: &str, wave: &[u8]) -> std::io::Result<()> {
    std::fs::write(folder.join(format!("{name}.wav")), wave)?;
    let metadata = serde_json::json!({
        "recordingId": id,
        "conversationId": "7f0f3c1e-52f0-4b6e-9a5e-3d7f5e1f0a01",
        "media": "call",
        "startTime": "2026-01-02T03:04:05Z",
        "channels": [{"channel": 0, "role": "agent", "name": "Test Agent"}],
    });
    std::fs::write(folder.join(format!("{name}.json")), metadata.to_string())
}
