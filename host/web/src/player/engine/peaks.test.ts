/* Peaks, lanes and silence. */
import { describe, expect, test } from "vitest";
import type { WaveformData } from "../../api/types";
import { findSilence, lanesOf, readPeaks, silenceThreshold, stretchAt, type Peaks } from "./peaks";

function waveform(over: Partial<WaveformData>): WaveformData {
  return { version: 2, channels: 2, sample_rate: 8000, samples_per_pixel: 800, bits: 8, length: 2, data: [-64, 32, 0, 127, -128, 5, -1, 1], ...over };
}

describe("readPeaks", () => {
  test("interleaved minima and maxima become one envelope per channel", () => {
    const peaks = readPeaks(waveform({}));
    expect([...peaks.channels[0]!]).toEqual([0.5, 1]);
    expect(peaks.channels[1]![0]).toBeCloseTo(127 / 128);
    expect(peaks.channels[1]![1]).toBeCloseTo(1 / 128);
    expect(peaks.secondsPerPoint).toBe(0.1);
    expect(peaks.duration).toBeCloseTo(0.2);
  });
  test("16 bits; channels left out mean one; data shorter than `length` counts as it is", () => {
    const peaks = readPeaks(waveform({ bits: 16, channels: undefined, length: 99, data: [-16384, 0, 0, 32767] }));
    expect(peaks.channels).toHaveLength(1);
    expect(peaks.channels[0]![0]).toBe(0.5);
  });
  test.each([{ data: [] }, { samples_per_pixel: 0 }, { sample_rate: 0, samples_per_pixel: 0 }])("%j is refused", (over) => {
    expect(() => readPeaks(waveform(over))).toThrow(TypeError);
  });
});

describe("lanesOf", () => {
  test("the agent is on top, whichever channel it is on", () => {
    const lanes = lanesOf(2, [{ channel: 0, role: "customer", name: "Tom" }, { channel: 1, role: "agent", name: "Maya" }]);
    expect(lanes.map((lane) => [lane.channel, lane.role, lane.name])).toEqual([[1, "agent", "Maya"], [0, "customer", "Tom"]]);
  });
  test("a mono file is one lane with everybody on it", () => {
    expect(lanesOf(1, [{ channel: 0, role: "agent", name: "Maya" }, { channel: 1, role: "customer" }]))
      .toEqual([{ channel: 0, role: "mixed", name: "Maya, Customer" }]);
    expect(lanesOf(1, [])).toEqual([{ channel: 0, role: "mixed", name: "Everyone" }]);
  });
  test("a channel that nobody described has a lane too", () => {
    expect(lanesOf(2, [{ channel: 0, role: "agent" }])).toHaveLength(2);
  });
});

/* Ten points a second: loud where the pattern has #. */
function peaksOf(...patterns: string[]): Peaks {
  const channels = patterns.map((pattern) => Float32Array.from([...pattern], (sign) => (sign === "#" ? 0.6 : 0.004)));
  return { channels, secondsPerPoint: 0.1, duration: patterns[0]!.length / 10 };
}

const options = { minSeconds: 1, padding: 0.2, keep: [] };
const rounded = (stretches: { start: number; end: number }[]) =>
  stretches.map(({ start, end }) => [Math.round(start * 10) / 10, Math.round(end * 10) / 10]);

describe("findSilence", () => {
  test("only where all channels are quiet, and padded", () => {
    const agent    = "####....................####";
    const customer = "............####............";
    expect(rounded(findSilence(peaksOf(agent, customer), { ...options, minSeconds: 0.8 }))).toEqual([[0.6, 1], [1.8, 2.2]]);
  });
  test("short gaps stay; silence at both ends is found", () => {
    expect(rounded(findSilence(peaksOf("...............####.....####.............."), options))).toEqual([[0.2, 1.3], [3, 4]]);
  });
  test("a labelled stretch is never silence, and what is around it still is", () => {
    const quiet = peaksOf(`####${".".repeat(60)}####`);
    expect(rounded(findSilence(quiet, { ...options, keep: [{ start: 2, end: 4 }] }))).toEqual([[0.6, 1.8], [4.2, 6.2]]);
  });
  test("nothing but noise is not all silence to be skipped at a shout's scale", () => {
    const hiss: Peaks = { channels: [Float32Array.from({ length: 100 }, (_, at) => (at > 40 && at < 60 ? 0.5 : 0.02))], secondsPerPoint: 0.1, duration: 10 };
    expect(silenceThreshold(hiss)).toBeCloseTo(0.04);
    expect(rounded(findSilence(hiss, options))).toEqual([[0.2, 3.9], [6.2, 9.8]]);
  });
});

test("stretchAt is half open", () => {
  const stretches = [{ start: 1, end: 2 }, { start: 4, end: 6 }];
  expect([0.9, 1, 1.99, 2, 3, 4, 5.99, 6].map((time) => stretchAt(stretches, time)?.start)).toEqual([undefined, 1, 1, undefined, undefined, 4, 4, undefined]);
});
