"""A written dialogue, and when everything in it happens.

A line of a script is one of

    agent: words                     said after a short, natural pause
    customer +900: words             … after 900 ms; -250 speaks into the end of what came before
    customer ~60%: Mm-hm.            said over the line before, at 60 % of it
    (hold 14 s: reason)              the customer hears music
    (secure pause 15 s: reason)      nothing is recorded
    (typing 2 s) (silence 2 s)       nobody speaks

and `{555-0134|five five five, oh one three four}` is shown as the first and spoken as the second.
"""

import re
from dataclasses import dataclass, field

import numpy as np

from .kokoro import SAMPLE_RATE, Kokoro, Speech

LINE = re.compile(r"(agent|customer)(?: ([+-]\d+|~\d+%))?: (.+)")
CUE = re.compile(r"\((hold|secure pause|typing|silence) (\d+(?:\.\d+)?) s(?:: (.+))?\)")
WORD = re.compile(r"\{([^|}]+)\|([^}]+)\}(\S*)|(\S+)")
SPAN_REASONS = {"hold": "Hold", "secure pause": "SecurePause"}


@dataclass
class Utterance:
    role: str
    start: float
    words: list[str]
    speech: Speech

    @property
    def end(self) -> float:
        return self.start + len(self.speech.samples) / SAMPLE_RATE


@dataclass
class Cue:
    kind: str
    start: float
    seconds: float
    description: str | None

    @property
    def end(self) -> float:
        return self.start + self.seconds


@dataclass
class Timeline:
    utterances: list[Utterance] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    duration: float = 0.0


def arrange(script: dict, kokoro: Kokoro, random: np.random.Generator) -> Timeline:
    """Speaks every line and gives it its time."""
    timeline = Timeline()
    now, last = script.get("lead", 0.9), None
    free = {"agent": 0.0, "customer": 0.0}
    for text in script["lines"]:
        if cue := CUE.fullmatch(text):
            start = now + 0.45
            timeline.cues.append(Cue(cue[1], start, float(cue[2]), cue[3]))
            now, last = start + float(cue[2]), None
            continue
        if not (line := LINE.fullmatch(text)):
            raise ValueError(f"{script['name']}: not a line of a script: {text!r}")
        role, timing, said = line.groups()
        voice = script["voices"][role]
        pairs = [_word(match) for match in WORD.finditer(said)]
        speech = kokoro.speak(pairs, voice["voice"], voice.get("speed", 1.0))
        pause = random.uniform(0.12, 0.42) if role != (last and last.role) else 0.3
        if timing and timing.startswith("~"):
            start = last.start + int(timing[1:-1]) / 100 * (last.end - last.start)
        else:
            start = now + (int(timing) / 1000 if timing else pause)
        start = max(start, free[role])
        utterance = Utterance(role, start, [shown for shown, _ in pairs], speech)
        timeline.utterances.append(utterance)
        free[role] = utterance.end
        if not (timing and timing.startswith("~")):
            last = utterance
        now = max(now, utterance.end)
    timeline.duration = max(now + 0.9, script.get("duration", 0.0))
    timeline.utterances.sort(key=lambda utterance: utterance.start)
    return timeline


def transcript(timeline: Timeline, channels: dict[str, int], language: str) -> dict:
    """The transcript in the import format. Joined by spaces, an utterance's words are its text."""
    utterances = []
    for number, utterance in enumerate(timeline.utterances, 1):
        words = [
            {
                "text": text,
                "startMs": round((utterance.start + start) * 1000),
                "endMs": round((utterance.start + end) * 1000),
            }
            for text, (start, end) in zip(utterance.words, utterance.speech.words, strict=True)
        ]
        utterances.append(
            {
                "id": f"u{number}",
                "channel": channels[utterance.role],
                "role": utterance.role,
                "startMs": words[0]["startMs"],
                "endMs": words[-1]["endMs"],
                "text": " ".join(utterance.words),
                "words": words,
            }
        )
    return {"version": 1, "language": language, "utterances": utterances}


def spans(timeline: Timeline) -> list[dict]:
    """Holds and secure pauses, as metadata has them."""
    return [
        {
            "reason": SPAN_REASONS[cue.kind],
            "startMs": round(cue.start * 1000),
            "endMs": round(cue.end * 1000),
            "description": cue.description,
        }
        for cue in timeline.cues
        if cue.kind in SPAN_REASONS
    ]


def _word(match: re.Match) -> tuple[str, str]:
    shown, spoken, tail, plain = match.groups()
    return (plain, plain) if plain else (shown + tail, spoken + tail)
