/* One open recording: its engine, its picture's data and its transcript, each loaded as soon as there
   is a grant and again after a failure. Not for: markup. */
import { computed, effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import * as api from "../api/client";
import { Problem, problemFromError } from "../api/problem";
import type { Grant, Recording } from "../api/types";
import { linkTime, spanName } from "../format";
import { recordingAddress } from "../router";
import { Engine } from "./engine/engine";
import { findSilence, lanesOf, readPeaks, type Lane, type Peaks } from "./engine/peaks";
import { lineAt, readTranscript, search, wordAt, type Line, type Match } from "./engine/transcript";
import type { WaveformView } from "./waveform-view";

export type Resource<T> =
  | { state: "loading" } | { state: "none" } | { state: "ready"; value: T } | { state: "failed"; problem: Problem };

export class Model {
  readonly recording: Recording;
  readonly engine: Engine;
  readonly peaks = signal<Resource<Peaks>>({ state: "loading" });
  readonly lines = signal<Resource<Line[]>>({ state: "loading" });
  readonly lanes: ReadonlySignal<Lane[]>;
  readonly follow = signal(true);
  readonly query = signal("");
  readonly matches: ReadonlySignal<Match[]>;
  readonly match = signal(0);
  readonly line: ReadonlySignal<number>;
  readonly word: ReadonlySignal<number>;
  readonly view = signal<WaveformView | null>(null);
  readonly help = signal(false);
  readonly #abort = new AbortController();
  readonly #disposers: (() => void)[] = [];

  constructor(
    recording: Recording, named: api.Named, audio: HTMLAudioElement, startAt: number,
    first: Promise<Grant> | null,
  ) {
    this.recording = recording;
    let early = first;
    const mediaBytes = recording.parts.find((part) => part.name === "media")?.bytes;
    this.engine = new Engine({
      audio, startAt, duration: recording.durationMs / 1000, contentType: recording.contentType,
      playback: (abort) => {
        const grant = early ?? api.playback(named, abort);
        early = null;
        return grant;
      },
      probe: (uri, share, abort) => api.probeMedia(uri, Math.floor((mediaBytes ?? 0) * share), abort),
    });
    const list = computed(() => (this.lines.value.state === "ready" ? this.lines.value.value : []));
    this.lanes = computed(() => lanesOf(
      this.peaks.value.state === "ready" ? this.peaks.value.value.channels.length : Math.max(1, recording.channels.length),
      recording.channels));
    this.matches = computed(() => search(list.value, this.query.value));
    this.line = computed(() => lineAt(list.value, this.engine.time.value));
    this.word = computed(() => {
      const line = list.value[this.line.value];
      return line ? wordAt(line, this.engine.time.value) : -1;
    });
    this.engine.spans.value = recording.spans
      .map((span) => ({
        start: span.startMs / 1000, end: span.endMs / 1000, reason: span.reason,
        label: spanName(span.reason),
      }))
      .filter((span) => span.end > span.start)
      .sort((a, b) => a.start - b.start);
    this.#disposers.push(effect(() => {
      const grant = this.engine.grant.value;
      if (grant) void this.#loadAround(grant);
    }));
    this.#disposers.push(effect(() => {
      this.engine.setLaneCount(this.lanes.value.length);
    }));
    void this.engine.start();
  }

  destroy(): void {
    this.#abort.abort();
    for (const dispose of this.#disposers) dispose();
    this.engine.destroy();
  }

  /* Shows the match `step` further on, round the end. */
  stepMatch(step: number): void {
    const all = this.matches.value;
    if (all.length === 0) return;
    this.match.value = (this.match.value + step + all.length) % all.length;
    this.showMatch();
  }

  showMatch(): void {
    const match = this.matches.value[this.match.value];
    if (match) this.engine.seek(match.time);
  }

  setQuery(query: string): void {
    this.query.value = query;
    this.match.value = 0;
  }

  /* The address of this recording at this moment. */
  address(): string {
    const url = new URL(recordingAddress(this.recording), location.origin);
    url.searchParams.set("t", linkTime(this.engine.time.value));
    return url.href;
  }

  async #loadAround(grant: Grant): Promise<void> {
    await Promise.all([
      load(this.peaks, grant.waveformUri, async (uri) => {
        const peaks = readPeaks(await api.waveform(uri, this.#abort.signal));
        const keep = this.engine.spans.peek();
        this.engine.silences.value = findSilence(peaks, { minSeconds: 1, padding: 0.2, keep });
        return peaks;
      }),
      load(this.lines, grant.transcriptUri, async (uri) =>
        readTranscript(await api.transcript(uri, this.#abort.signal))),
    ]);
  }
}

async function load<T>(into: Signal<Resource<T>>, uri: string | null, fetch: (uri: string) => Promise<T>) {
  if (into.peek().state === "ready") return;
  if (!uri) {
    into.value = { state: "none" };
    return;
  }
  try {
    into.value = { state: "ready", value: await fetch(uri) };
  } catch (error) {
    const problem = error instanceof TypeError
      ? new Problem({ code: "media", status: 0, title: "It cannot be read" })
      : problemFromError(error);
    into.value = { state: "failed", problem };
  }
}
