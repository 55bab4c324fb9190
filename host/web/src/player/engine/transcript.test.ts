/* Where the listener is, and where a word is. */
import { describe, expect, test } from "vitest";
import { lineAt, neighbour, readTranscript, search, wordAt } from "./transcript";

const lines = readTranscript({
  version: 1, language: "en-US",
  utterances: [
    { id: "u2", channel: 1, role: "customer", startMs: 5000, endMs: 8000, text: "I can't find Müller's café.", words: [
      { text: "I", startMs: 5000, endMs: 5200 }, { text: "can't", startMs: 5200, endMs: 5600 }, { text: "find", startMs: 5600, endMs: 6000 },
      { text: "Müller's", startMs: 6000, endMs: 6600 }, { text: "café.", startMs: 7500, endMs: 8000 }] },
    { id: "u1", channel: 0, role: "agent", startMs: 1000, endMs: 4000, text: "Hello and a refund" },
    { id: "u3", channel: 0, role: "agent", startMs: 12000, endMs: 14000, text: "The refund of the refund" },
  ],
});

test("lines are in order of time", () => expect(lines.map((line) => line.id)).toEqual(["u1", "u2", "u3"]));

test("words without times share the line's", () => {
  const { words } = lines[0]!;
  expect(words.map((word) => word.text)).toEqual(["Hello", "and", "a", "refund"]);
  expect(words[0]!.start).toBe(1);
  expect(words.at(-1)!.end).toBeCloseTo(4);
  for (let at = 1; at < words.length; at += 1) expect(words[at]!.start).toBeCloseTo(words[at - 1]!.end);
});

test.each([[0, -1], [0.99, -1], [1, 0], [4.5, 0], [5, 1], [11.9, 1], [99, 2]])("lineAt(%s) = %s", (time, line) =>
  expect(lineAt(lines, time)).toBe(line));

test.each([[5, 0], [5.19, 0], [5.2, 1], [6.3, 3], [6.9, 3], [7.2, -1], [7.5, 4], [8.3, 4], [8.4, -1]])("wordAt(%s) = %s", (time, word) =>
  expect(wordAt(lines[1]!, time)).toBe(word));

describe("neighbour", () => {
  test("forward to the next start, and nowhere after the last", () => {
    expect(neighbour(lines, 0, 1)).toBe(1);
    expect(neighbour(lines, 1, 1)).toBe(5);
    expect(neighbour(lines, 13, 1)).toBeUndefined();
  });
  test("back to this line's start, or at its start to the one before", () => {
    expect(neighbour(lines, 7.5, -1)).toBe(5);
    expect(neighbour(lines, 5.2, -1)).toBe(1);
    expect(neighbour(lines, 1.1, -1)).toBe(1);
    expect(neighbour(lines, 0.5, -1)).toBeUndefined();
  });
});

describe("search", () => {
  const found = (query: string) => search(lines, query).map(({ line, from, to }) => [line, from, to]);
  test("every place, with the time of its first word", () => {
    expect(found("refund")).toEqual([[0, 3, 3], [2, 1, 1], [2, 4, 4]]);
    expect(search(lines, "café")[0]!.time).toBe(7.5);
  });
  test("case, accents and punctuation make no difference", () => {
    expect(found("MULLERS")).toEqual([[1, 3, 3]]);
    expect(found("cant find")).toEqual([[1, 1, 2]]);
    expect(found("cafe")).toEqual([[1, 4, 4]]);
  });
  test("phrases run over words; the last may be unfinished, the first begun earlier", () => {
    expect(found("refund of th")).toEqual([[2, 1, 3]]);
    expect(found("fund of")).toEqual([[2, 1, 2]]);
    expect(found("refund the")).toEqual([]);
  });
  test("nothing is found by nothing", () => {
    expect(found("")).toEqual([]);
    expect(found("  ... ")).toEqual([]);
  });
});
