/* Where the listener is in a transcript, and where a word occurs. Times are seconds.
   Not for: drawing it (player/transcript-panel.tsx). */
import type { Transcript, Utterance } from "../../api/types";

export interface Line {
  id: string;
  role: string;
  channel: number;
  start: number;
  end: number;
  words: LineWord[];
}

export interface LineWord {
  text: string;
  start: number;
  end: number;
}

export interface Match {
  line: number;
  /* Indices of words, inclusive. */
  from: number;
  to: number;
  time: number;
}

export function readTranscript(transcript: Transcript): Line[] {
  return transcript.utterances
    .map((utterance) => ({
      id: utterance.id,
      role: utterance.role,
      channel: utterance.channel,
      start: utterance.startMs / 1000,
      end: utterance.endMs / 1000,
      words: wordsOf(utterance),
    }))
    .sort((a, b) => a.start - b.start);
}

/* The line that began last, or -1 before the first. */
export function lineAt(lines: readonly Line[], time: number): number {
  return lastStarted(lines, time);
}

/* The word being spoken, or -1 in a pause. A word stays lit over the short gap after it. */
export function wordAt(line: Line, time: number): number {
  const at = lastStarted(line.words, time);
  const word = line.words[at];
  if (!word) return -1;
  const next = line.words[at + 1];
  const until = next ? Math.min(next.start, word.end + LINGER) : word.end + LINGER;
  return time < until ? at : -1;
}

/* Where Shift+arrow goes: the next line's start, or this line's start if well into it, or the one before. */
export function neighbour(lines: readonly Line[], time: number, direction: 1 | -1): number | undefined {
  const at = lastStarted(lines, time + 0.05);
  if (direction === 1) return lines[at + 1]?.start;
  const current = lines[at];
  if (!current) return undefined;
  if (time - current.start > 1.5) return current.start;
  return lines[at - 1]?.start ?? current.start;
}

/* Every place where the query occurs, by words: case, accents and punctuation make no difference;
   the last word may be unfinished. */
export function search(lines: readonly Line[], query: string): Match[] {
  const wanted = query.split(/\s+/).map(fold).filter((word) => word !== "");
  const matches: Match[] = [];
  if (wanted.length === 0) return matches;
  lines.forEach((line, lineIndex) => {
    const folded = line.words.map((word) => fold(word.text));
    for (let from = 0; from + wanted.length <= folded.length; from += 1) {
      const hit = wanted.every((word, offset) => {
        const candidate = folded[from + offset]!;
        const first = offset === 0;
        const last = offset === wanted.length - 1;
        if (first && last) return candidate.includes(word);
        if (first) return candidate.endsWith(word);
        return last ? candidate.startsWith(word) : candidate === word;
      });
      if (!hit) continue;
      const to = from + wanted.length - 1;
      matches.push({ line: lineIndex, from, to, time: line.words[from]!.start });
      from = to;
    }
  });
  return matches;
}

export function fold(text: string): string {
  return text.normalize("NFKD").replace(/[\p{M}\p{P}\p{S}]/gu, "").toLowerCase();
}

const LINGER = 0.35;

/* Without word times, words share their line's time by length: near enough to follow. */
function wordsOf(utterance: Utterance): LineWord[] {
  if (utterance.words && utterance.words.length > 0) {
    return utterance.words.map((word) => ({
      text: word.text, start: word.startMs / 1000, end: word.endMs / 1000,
    }));
  }
  const texts = utterance.text.split(/\s+/).filter((text) => text !== "");
  const total = texts.reduce((sum, text) => sum + text.length + 1, 0);
  const span = (utterance.endMs - utterance.startMs) / 1000;
  let passed = 0;
  return texts.map((text) => {
    const start = utterance.startMs / 1000 + (passed / total) * span;
    passed += text.length + 1;
    return { text, start, end: utterance.startMs / 1000 + (passed / total) * span };
  });
}

function lastStarted(list: readonly { start: number }[], time: number): number {
  let low = 0;
  let high = list.length - 1;
  let found = -1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (list[middle]!.start <= time) {
      found = middle;
      low = middle + 1;
    } else {
      high = middle - 1;
    }
  }
  return found;
}
