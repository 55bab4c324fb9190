#!/usr/bin/env python3
"""Makes the sample library of `keyreel demo` from the dialogues in scripts/.

    python3 examples/quickstart/synthesise.py --out DIR

Needs ffmpeg and what requirements.txt names; says so when something is missing. The same packages
give the same conversations; encoders of other versions may give other bytes.
"""

import argparse
import json
import shutil
import subprocess
import sys
from os import environ
from pathlib import Path
from uuid import UUID

HERE = Path(__file__).resolve().parent
# This folder goes into the binary as it is: leave no __pycache__ in it.
sys.dont_write_bytecode = True

# File ending, sample rate, and what ffmpeg is told.
FORMATS = {
    "pcm": ("wav", 8000, ["-c:a", "pcm_s16le"]),
    "mulaw": ("wav", 8000, ["-c:a", "pcm_mulaw"]),
    "alaw": ("wav", 8000, ["-c:a", "pcm_alaw"]),
    "mp3": ("mp3", 16000, ["-c:a", "libmp3lame", "-b:a", "40k", "-joint_stereo", "0"]),
    "vorbis": ("ogg", 16000, ["-c:a", "libvorbis", "-q:a", "0"]),
    "opus": ("opus", 16000, ["-c:a", "libopus", "-b:a", "24k", "-application", "voip"]),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="default: this folder")
    parser.add_argument("--only", default="", help="only recordings whose name contains this")
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keyreel-quickstart"
    parser.add_argument("--cache", type=Path, default=cache, help="voices and spoken lines")
    arguments = parser.parse_args()

    needs = missing(arguments.cache)
    if needs:
        print("error: some things have to be installed first", file=sys.stderr)
        for need in needs:
            print(f"hint: {need}", file=sys.stderr)
        return 1

    from synthesis.kokoro import Kokoro

    kokoro = Kokoro(arguments.cache)
    for path in sorted((HERE / "scripts").glob("*/*.json")):
        if arguments.only not in path.stem:
            continue
        script = json.loads(path.read_text(encoding="utf-8")) | {"name": path.stem}
        folder = arguments.out / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        print(make(script, folder, kokoro), file=sys.stderr)
    return 0


def missing(cache: Path) -> list[str]:
    needs = [] if shutil.which("ffmpeg") else ["ffmpeg: apt-get install ffmpeg"]
    try:
        from synthesis import kokoro, sound  # noqa: F401
    except ImportError as error:
        install = "python3 -m pip install -r examples/quickstart/requirements.txt"
        return [*needs, f"{error.name}: {install}"]
    return needs + kokoro.missing(cache)


def make(script: dict, folder: Path, kokoro) -> str:
    """Speaks, mixes and writes one recording; returns a line about it."""
    import numpy as np

    from synthesis import timeline

    random = np.random.default_rng(UUID(script["recordingId"]).int)
    ending, rate, encoder = FORMATS[script["format"]]
    channels = {"agent": 0, "customer": 1}
    if script.get("agentChannel") == 1:
        channels = {"agent": 1, "customer": 0}
    plan = timeline.arrange(script, kokoro, random)
    mixed = mix(plan, script, channels, rate, random)

    media = folder / f"{script['name']}.{ending}"
    encode(mixed, rate, encoder, media)
    people = sorted(
        ({"channel": channels[role], "role": role} | script[role] for role in channels),
        key=lambda person: person["channel"],
    )
    kept = ("recordingId", "conversationId", "startTime", "direction", "queue", "subject", "labels")
    metadata = {"media": "call"} | {key: script[key] for key in kept}
    metadata |= {"channels": people, "spans": timeline.spans(plan)}
    write_json(folder / f"{script['name']}.json", metadata)
    write_json(
        folder / f"{script['name']}.transcript.json",
        timeline.transcript(plan, channels, script.get("language", "en-US")),
    )
    seconds, size = mixed.shape[0] / rate, media.stat().st_size
    return f"{folder.name}/{media.name}: {script['format']}, {seconds:.1f} s, {size / 1e6:.2f} MB"


def mix(plan, script: dict, channels: dict[str, int], rate: int, random):
    """Both channels as they would leave a recorder: samples × 2, −1.0 to 1.0."""
    import numpy as np

    from synthesis import sound
    from synthesis.kokoro import SAMPLE_RATE

    length = round(plan.duration * rate)
    lanes = {role: np.zeros(length) for role in channels}

    def add(role, start, samples):
        at = round(start * rate)
        lanes[role][at : at + len(samples)] += samples[: length - at]

    for utterance in plan.utterances:
        loudness = script["voices"][utterance.role]["level"] + random.uniform(-1.0, 1.0)
        spoken = sound.telephone(utterance.speech.samples, SAMPLE_RATE, rate)
        add(utterance.role, utterance.start, sound.level(spoken, loudness))
    floor = script.get("noise", {"agent": -64, "customer": -58})
    for role in ("agent", "customer"):
        lanes[role] += sound.room(length, rate, floor[role], random)
    for cue in plan.cues:
        if cue.kind == "typing":
            add("agent", cue.start, sound.typing(cue.seconds, rate, random))
        elif cue.kind == "hold":
            music = sound.telephone(sound.hold_music(cue.seconds, 24000), 24000, rate)
            add("agent", cue.start, music)
        elif cue.kind == "secure pause":
            first, last = round(cue.start * rate), round(cue.end * rate)
            for role in lanes:
                lanes[role][first:last] = sound.room(last - first, rate, -72, random)
                add(role, cue.start, sound.beep(rate))
                add(role, cue.end - 0.2, sound.beep(rate))
    return np.stack([lanes[role] for role in sorted(channels, key=channels.get)], axis=1)


def encode(samples, rate: int, encoder: list[str], path: Path) -> None:
    import numpy as np

    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    command = ["ffmpeg", "-v", "error", "-y", "-f", "s16le", "-ar", str(rate), "-ac", "2"]
    command += ["-i", "pipe:0", *encoder, "-fflags", "+bitexact", "-flags:a", "+bitexact"]
    subprocess.run([*command, "-map_metadata", "-1", str(path)], input=pcm, check=True)


def write_json(path: Path, value: dict) -> None:
    path.write_text(layout(value) + "\n", encoding="utf-8")


def layout(value, indent: str = "") -> str:
    """JSON to be read by people too: what holds nothing nested goes on one line."""
    inner = value.values() if isinstance(value, dict) else value
    if not isinstance(value, dict | list) or not any(isinstance(item, dict | list) for item in inner):
        return json.dumps(value, ensure_ascii=False)
    deeper = indent + " "
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {layout(item, deeper)}" for key, item in value.items()]
    else:
        items = [layout(item, deeper) for item in value]
    left, right = "{}" if isinstance(value, dict) else "[]"
    return left + ",".join(f"\n{deeper}{item}" for item in items) + f"\n{indent}{right}"


if __name__ == "__main__":
    sys.exit(main())
