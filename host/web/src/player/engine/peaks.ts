/* Pre-computed peaks: audiowaveform JSON made into one envelope per lane, and the stretches in
   which nobody speaks. Not for: drawing (waveform-view.ts), or decoding audio, which never happens
   in the page. */
import type { Channel, WaveformData } from "../../api/types";

export interface Peaks {
  /* Per channel, the larger of |min| and |max| of each point, 0 to 1. */
  channels: Float32Array[];
  secondsPerPoint: number;
  duration: number;
}

export interface Stretch {
  start: number;
  end: number;
}

export interface Lane {
  channel: number;
  role: string;
  name: string;
}

/* Throws a TypeError where the numbers do not add up: a wrong picture is worse than none. */
export function readPeaks(data: WaveformData): Peaks {
  const channelCount = data.channels ?? 1;
  const full = data.bits === 16 ? 32768 : 128;
  const points = Math.floor(data.data.length / (2 * channelCount));
  const secondsPerPoint = data.samples_per_pixel / data.sample_rate;
  if (channelCount < 1 || points === 0 || !(secondsPerPoint > 0)) {
    throw new TypeError("waveform: not audiowaveform JSON, version 2");
  }
  const channels = Array.from({ length: channelCount }, () => new Float32Array(points));
  for (let point = 0; point < points; point += 1) {
    for (let channel = 0; channel < channelCount; channel += 1) {
      const at = (point * channelCount + channel) * 2;
      const low = Math.abs(data.data[at] ?? 0);
      const high = Math.abs(data.data[at + 1] ?? 0);
      channels[channel]![point] = Math.min(1, Math.max(low, high) / full);
    }
  }
  return { channels, secondsPerPoint, duration: points * secondsPerPoint };
}

/* One lane per channel of the sound; who is on it comes from metadata, never from its number.
   A mono file is one lane, however many people are on it. */
export function lanesOf(channelCount: number, channels: Channel[]): Lane[] {
  if (channelCount <= 1) {
    const names = channels.map((channel) => channel.name || label(channel.role)).filter(Boolean);
    const only = channels.length === 1 ? channels[0] : undefined;
    return [{ channel: 0, role: only?.role ?? "mixed", name: names.join(", ") || "Everyone" }];
  }
  const lanes = Array.from({ length: channelCount }, (_, channel) => {
    const known = channels.find((candidate) => candidate.channel === channel);
    return { channel, role: known?.role ?? "", name: known?.name || known?.address || "" };
  });
  // The agent's lane is on top whichever channel it was recorded on.
  return lanes.sort((a, b) => rank(a.role) - rank(b.role) || a.channel - b.channel);
}

export interface SilenceOptions {
  /* Shorter gaps are how people talk. */
  minSeconds: number;
  /* Left at both ends, so that no syllable is clipped. */
  padding: number;
  /* Stretches that have a label of their own: never skipped as mere silence. */
  keep: Stretch[];
}

export function findSilence(peaks: Peaks, options: SilenceOptions): Stretch[] {
  const threshold = silenceThreshold(peaks);
  const found: Stretch[] = [];
  const points = peaks.channels[0]?.length ?? 0;
  let quietFrom = -1;
  for (let point = 0; point <= points; point += 1) {
    const quiet =
      point < points && peaks.channels.every((channel) => (channel[point] ?? 0) < threshold);
    if (quiet && quietFrom < 0) quietFrom = point;
    if (quiet || quietFrom < 0) continue;
    const start = quietFrom * peaks.secondsPerPoint;
    const end = point * peaks.secondsPerPoint;
    quietFrom = -1;
    for (const part of without({ start, end }, options.keep)) {
      if (part.end - part.start < options.minSeconds) continue;
      const padded = { start: part.start + options.padding, end: part.end - options.padding };
      if (padded.end > padded.start) found.push(padded);
    }
  }
  return found;
}

/* Follows the noise of the line: a hiss under speech is still silence. Between -40 and -26 dBFS. */
export function silenceThreshold(peaks: Peaks): number {
  const loudest = new Float32Array(peaks.channels[0]?.length ?? 0);
  for (const channel of peaks.channels) {
    channel.forEach((value, point) => {
      if (value > (loudest[point] ?? 0)) loudest[point] = value;
    });
  }
  const floor = loudest.sort()[Math.floor(loudest.length * 0.15)] ?? 0;
  return Math.min(0.05, Math.max(0.01, floor * 2));
}

/* The stretch that `time` lies in, by binary search; stretches are in order and apart. */
export function stretchAt(stretches: readonly Stretch[], time: number): Stretch | undefined {
  let low = 0;
  let high = stretches.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const stretch = stretches[middle]!;
    if (time < stretch.start) high = middle - 1;
    else if (time >= stretch.end) low = middle + 1;
    else return stretch;
  }
  return undefined;
}

function without(stretch: Stretch, keep: Stretch[]): Stretch[] {
  let parts = [stretch];
  for (const kept of keep) {
    parts = parts.flatMap((part) => {
      if (kept.end <= part.start || kept.start >= part.end) return [part];
      return [
        { start: part.start, end: Math.min(part.end, kept.start) },
        { start: Math.max(part.start, kept.end), end: part.end },
      ].filter((rest) => rest.end > rest.start);
    });
  }
  return parts;
}

function label(role: string): string {
  return role.charAt(0).toUpperCase() + role.slice(1);
}

function rank(role: string): number {
  return role === "agent" ? 0 : role === "customer" ? 1 : 2;
}
