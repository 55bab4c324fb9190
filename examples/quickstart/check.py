#!/usr/bin/env python3
"""Checks the sample library: codecs, lengths, sizes, and that every word is where it is said to be.

    python3 examples/quickstart/check.py [DIR]

Needs ffmpeg, ffprobe and numpy. Ends with 1 and names what is wrong, if anything is.
"""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from uuid import UUID

import numpy as np

RATE = 8000
LARGEST_FILE, LARGEST_LIBRARY = 1_990_000, 9_600_000
MEDIA = {".wav", ".mp3", ".ogg", ".opus"}


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent
    library = json.loads((folder / "library.json").read_text(encoding="utf-8"))
    problems, total, identifiers = [], 0, set()
    for tenant in library["tenants"]:
        files = [path for path in sorted((folder / tenant["id"]).iterdir()) if path.suffix in MEDIA]
        if not files:
            problems.append(f"{tenant['id']}: no recordings")
        for media in files:
            total += media.stat().st_size
            found = check(media, identifiers)
            problems += [f"{tenant['id']}/{media.name}: {problem}" for problem in found]
    if total > LARGEST_LIBRARY:
        problems.append(f"{total} bytes of media")
    print(f"{len(identifiers)} recordings, {total / 1e6:.2f} MB")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def check(media: Path, identifiers: set[UUID]) -> list[str]:
    metadata = json.loads(media.with_suffix(".json").read_text(encoding="utf-8"))
    transcript = json.loads(media.with_suffix(".transcript.json").read_text(encoding="utf-8"))
    command = ["ffprobe", "-v", "error", "-of", "json", "-show_entries"]
    probed = json.loads(
        subprocess.check_output(
            [*command, "stream=codec_name,channels,sample_rate:format=duration", str(media)]
        )
    )
    stream, seconds = probed["streams"][0], float(probed["format"]["duration"])
    samples = decode(media)
    problems = []

    def expect(holds, problem):
        if not holds:
            problems.append(problem)

    identifier = UUID(metadata["recordingId"])
    expect(identifier not in identifiers, f"recordingId {identifier} twice")
    identifiers.add(identifier)
    UUID(metadata["conversationId"])
    start = datetime.fromisoformat(metadata["startTime"])
    expect(start < datetime.fromisoformat("2026-11-22T00:00:00Z"), f"starts at {start}")
    expect(stream["channels"] == 2, f"{stream['channels']} channels")
    expect(60 <= seconds <= 300, f"{seconds} s long")
    expect(abs(len(samples) / RATE - seconds) < 0.1, "decodes to another length than it says")
    expect(media.stat().st_size <= LARGEST_FILE, f"{media.stat().st_size} bytes")

    roles = {person["channel"]: person["role"] for person in metadata["channels"]}
    expect(sorted(roles) == [0, 1], f"channels {sorted(roles)}")
    for span in metadata["spans"]:
        expect(span["startMs"] < span["endMs"] <= seconds * 1000, f"span {span}")
        for said in transcript["utterances"]:
            apart = said["endMs"] <= span["startMs"] or said["startMs"] >= span["endMs"]
            expect(apart, f"{said['id']} is spoken in a span")

    last, heard, clear = {0: 0, 1: 0}, [], []
    for said in transcript["utterances"]:
        channel, words = said["channel"], said["words"]
        expect(roles[channel] == said["role"], f"{said['id']} is on channel {channel}")
        expect(" ".join(word["text"] for word in words) == said["text"], f"{said['id']}: text")
        edges = [edge for word in words for edge in (word["startMs"], word["endMs"])]
        expect(edges == sorted(edges), f"{said['id']}: words out of order")
        expect(edges[0] >= last[channel], f"{said['id']}: begins before the one before has ended")
        expect((said["startMs"], said["endMs"]) == (edges[0], edges[-1]), f"{said['id']}: edges")
        expect(edges[-1] <= seconds * 1000, f"{said['id']}: ends after the recording")
        last[channel] = edges[-1]
        own = loudness(samples, channel, edges[0], edges[-1])
        expect(own > -35, f"{said['id']}: {own:.0f} dBFS on its channel")
        heard.append(own)
        for word in words:
            level = loudness(samples, channel, word["startMs"], word["endMs"])
            expect(level > -50, f"{said['id']}: {word['text']!r} at {level:.0f} dBFS")
        clear.append(own - quiet(samples, channel, transcript, seconds))
    expect(min(clear) > 12, f"speech only {min(clear):.0f} dB above its pauses")
    print(
        f"{media.parent.name}/{media.name}: {stream['codec_name']} {stream['sample_rate']} Hz, "
        f"{seconds:.1f} s, {media.stat().st_size / 1e6:.2f} MB, {len(heard)} utterances, "
        f"{min(heard):.0f} to {max(heard):.0f} dBFS, at least {min(clear):.0f} dB above the pauses"
    )
    return problems


def decode(media: Path) -> np.ndarray:
    command = ["ffmpeg", "-v", "error", "-i", str(media), "-f", "f32le", "-ar", str(RATE), "pipe:1"]
    return np.frombuffer(subprocess.check_output(command), dtype="<f4").reshape(-1, 2)


def loudness(samples: np.ndarray, channel: int, start_ms: float, end_ms: float) -> float:
    part = samples[int(start_ms * RATE / 1000) : int(end_ms * RATE / 1000), channel]
    return 10 * np.log10(np.mean(part.astype(np.float64) ** 2) + 1e-12)


def quiet(samples: np.ndarray, channel: int, transcript: dict, seconds: float) -> float:
    """The channel's level while only the other speaks: the median over utterances of the other."""
    levels = []
    own = [said for said in transcript["utterances"] if said["channel"] == channel]
    for said in transcript["utterances"]:
        start, end = said["startMs"], said["endMs"]
        alone = all(mine["endMs"] + 200 < start or mine["startMs"] - 200 > end for mine in own)
        if said["channel"] != channel and alone:
            levels.append(loudness(samples, channel, start, end))
    return float(np.median(levels))


if __name__ == "__main__":
    sys.exit(main())
