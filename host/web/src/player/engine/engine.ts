/* Plays one recording: grant, media element, speed, loop, what is skipped, and recovery when a range
   fails. Everything a component shows is a signal here. Not for: pictures, words, keys. */
import { batch, computed, signal } from "@preact/signals";
import { Problem, problemFromError } from "../../api/problem";
import type { Grant } from "../../api/types";
import { Graph } from "./graph";
import { stretchAt, type Stretch } from "./peaks";
import { Recovery, renewIn } from "./recovery";

export type Status =
  | { kind: "loading" }
  | { kind: "ready" }
  | { kind: "recovering"; problem: Problem; attempt: number; of: number; until: number }
  | { kind: "failed"; problem: Problem };

export type SpanMode = "play" | "skip" | "tone";

export interface LabelledSpan extends Stretch {
  reason: string;
  label: string;
}

export interface Loop {
  a: number | null;
  b: number | null;
}

export interface LaneState {
  muted: boolean;
  solo: boolean;
}

export interface EngineParts {
  audio: HTMLAudioElement;
  duration: number;
  contentType: string;
  startAt: number;
  playback: (signal: AbortSignal) => Promise<Grant>;
  /* Asks for a byte at a share (0 to 1) of the media, to learn what is wrong there. */
  probe: (uri: string, share: number, signal: AbortSignal) => Promise<void>;
}

export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3] as const;

export class Engine {
  readonly status = signal<Status>({ kind: "loading" });
  readonly grant = signal<Grant | null>(null);
  readonly time = signal(0);
  readonly duration = signal(0);
  readonly playing = signal(false);
  readonly waiting = signal(false);
  readonly rate = signal(1);
  readonly muted = signal(false);
  readonly volume = signal(1);
  readonly loop = signal<Loop>({ a: null, b: null });
  readonly skipSilence = signal(false);
  readonly spanMode = signal<SpanMode>("play");
  readonly silences = signal<Stretch[]>([]);
  readonly spans = signal<LabelledSpan[]>([]);
  readonly lanes = signal<LaneState[]>([OPEN, OPEN]);
  /* Set once the first bytes were decoded: the server checks a chunk before it sends it. */
  readonly verified = signal(false);
  /* Said briefly to the listener: "Skipped 4 s of silence". */
  readonly notice = signal<{ text: string; key: number } | null>(null);
  readonly grants = signal(0);
  readonly recoveries = signal(0);
  readonly second = computed(() => Math.floor(this.time.value));
  readonly currentSpan = computed(() => stretchAt(this.spans.value, this.time.value) as LabelledSpan | undefined);
  readonly audible = computed(() => audibleLanes(this.lanes.value));

  readonly #parts: EngineParts;
  readonly #audio: HTMLAudioElement;
  readonly #recovery = new Recovery();
  readonly #abort = new AbortController();
  #graph: Graph | null = null;
  /* Where to be once the media can be sought: set before each load. */
  #pendingTime: number | null;
  #wantPlaying = false;
  #recovering: AbortController | null = null;
  #renewed: Grant | null = null;
  #renewTimer = 0;
  #stallTimer = 0;
  #frame = 0;
  #toned = false;

  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#audio = parts.audio;
    this.duration.value = parts.duration;
    this.#pendingTime = clamp(parts.startAt, 0, parts.duration);
    this.time.value = this.#pendingTime;
    this.#audio.preload = "metadata";
    this.#audio.preservesPitch = true;
    this.#listen();
  }

  /* Fetches the first grant. Failures show in `status`. */
  async start(): Promise<void> {
    try {
      await this.#adopt(await this.#newGrant(this.#abort.signal));
    } catch (error) {
      this.#fail(error);
    }
  }

  destroy(): void {
    this.#abort.abort();
    this.#recovering?.abort();
    clearTimeout(this.#renewTimer);
    clearTimeout(this.#stallTimer);
    cancelAnimationFrame(this.#frame);
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    this.#audio.load();
    this.#graph?.close();
  }

  toggle(): void {
    if (this.playing.value || this.#wantPlaying) this.pause();
    else this.play();
  }

  play(): void {
    this.#wantPlaying = true;
    this.#sound();
    const status = this.status.value;
    if (status.kind === "failed") {
      this.retry();
      return;
    }
    if (this.#audio.ended || this.time.value >= this.duration.value - 0.05) this.seek(0);
    if (status.kind === "ready") this.#playElement();
    this.playing.value = true;
  }

  pause(): void {
    this.#wantPlaying = false;
    this.playing.value = false;
    this.#audio.pause();
  }

  seek(to: number): void {
    const target = clamp(to, 0, Math.max(0, this.duration.value - 0.01));
    this.time.value = target;
    if (this.#renewed) {
      this.#pendingTime = target;
      this.#swap();
      return;
    }
    if (this.#pendingTime !== null || this.#audio.readyState < HTMLMediaElement.HAVE_METADATA) {
      this.#pendingTime = target;
    } else {
      this.#audio.currentTime = target;
    }
  }

  nudge(by: number): void {
    this.seek(this.time.value + by);
  }

  setRate(rate: number): void {
    this.rate.value = clamp(rate, 0.5, 3);
    this.#applyRate();
  }

  stepRate(direction: 1 | -1): void {
    const next = direction === 1
      ? SPEEDS.find((speed) => speed > this.rate.value + 0.001)
      : [...SPEEDS].reverse().find((speed) => speed < this.rate.value - 0.001);
    if (next !== undefined) this.setRate(next);
    this.say(`Speed ${this.rate.value}×`);
  }

  setVolume(volume: number): void {
    this.volume.value = clamp(volume, 0, 1);
    this.#audio.volume = this.volume.value;
    if (volume > 0) this.setMuted(false);
  }

  setMuted(muted: boolean): void {
    this.muted.value = muted;
    this.#audio.muted = muted;
  }

  toggleLane(channel: number, what: "muted" | "solo"): void {
    this.#sound();
    this.lanes.value = this.lanes.value.map((lane, index) =>
      index === channel ? { ...lane, [what]: !lane[what] } : lane);
    this.#applyLanes();
  }

  setLaneCount(count: number): void {
    this.lanes.value = Array.from({ length: Math.max(1, count) }, (_, index) => this.lanes.peek()[index] ?? OPEN);
  }

  setLoop(loop: Loop): void {
    let { a, b } = loop;
    if (a !== null && b !== null && b < a) [a, b] = [b, a];
    if (a !== null && b !== null && b - a < MIN_LOOP) b = Math.min(a + MIN_LOOP, this.duration.value);
    this.loop.value = { a, b };
  }

  markLoop(which: "a" | "b"): void {
    const { a, b } = this.loop.value;
    const now = this.time.value;
    if (which === "a") this.setLoop({ a: now, b: b !== null && b > now ? b : null });
    else this.setLoop({ a: a !== null && a < now ? a : 0, b: now });
  }

  clearLoop(): void {
    this.loop.value = { a: null, b: null };
  }

  setSpanMode(mode: SpanMode): void {
    if (mode === "tone") this.#sound();
    this.spanMode.value = mode;
    this.#tone();
  }

  /* What the listener does after a failure: all tries anew, from here. */
  retry(): void {
    this.#recovery.reset();
    void this.#recover(new Problem({ code: "media", status: 0 }), 0);
  }

  say(text: string): void {
    this.notice.value = { text, key: (this.notice.value?.key ?? 0) + 1 };
  }

  level(): number {
    return this.#graph?.level() ?? 0;
  }

  laneLevel(channel: number): number {
    return this.#graph?.laneLevel(channel) ?? 0;
  }

  #listen(): void {
    const audio = this.#audio;
    const on = (name: string, listener: () => void) =>
      audio.addEventListener(name, listener, { signal: this.#abort.signal });
    on("loadedmetadata", () => this.#onMetadata());
    on("loadeddata", () => { this.verified.value = true; });
    on("durationchange", () => {
      if (Number.isFinite(audio.duration) && audio.duration > 0) this.duration.value = audio.duration;
    });
    on("canplay", () => this.#onCanPlay());
    on("play", () => { this.playing.value = true; this.#loopFrames(); });
    on("playing", () => { this.#settled(); this.#loopFrames(); });
    on("pause", () => {
      if (this.#wantPlaying && (audio.ended || audio.error || this.#recovering)) return;
      this.#wantPlaying = false;
      this.playing.value = false;
    });
    on("ended", () => {
      const { a, b } = this.loop.value;
      if (a !== null && b !== null && b >= this.duration.value - 0.3) {
        this.seek(a);
        this.#playElement();
        return;
      }
      this.#wantPlaying = false;
      this.playing.value = false;
      this.time.value = this.duration.value;
    });
    on("waiting", () => { this.waiting.value = true; this.#watchStall(); });
    on("seeked", () => { this.#settled(); this.#tick(); });
    on("timeupdate", () => this.#tick());
    on("error", () => {
      // Emptying `src` on purpose is no failure.
      if (audio.error && audio.getAttribute("src")) void this.#onMediaError();
    });
  }

  #onMetadata(): void {
    this.#applyRate();
    if (this.#pendingTime !== null) {
      const target = this.#pendingTime;
      this.#pendingTime = null;
      if (target > 0) this.#audio.currentTime = target;
    }
    this.#ready();
  }

  #onCanPlay(): void {
    this.#settled();
    this.#ready();
  }

  #ready(): void {
    if (this.status.value.kind !== "ready") this.status.value = { kind: "ready" };
    if (this.#wantPlaying && this.#audio.paused) this.#playElement();
  }

  #settled(): void {
    this.waiting.value = false;
    clearTimeout(this.#stallTimer);
  }

  /* A connection that says nothing is as bad as one that says no. */
  #watchStall(): void {
    clearTimeout(this.#stallTimer);
    this.#stallTimer = window.setTimeout(() => {
      if (this.waiting.value && this.#wantPlaying) {
        void this.#recover(new Problem({ code: "offline", status: 0, title: "No sound came" }));
      }
    }, STALL_MS);
  }

  #playElement(): void {
    this.#audio.play().catch((error: unknown) => {
      // Refused without a gesture; an aborted play is the work of a newer load.
      if (error instanceof DOMException && error.name === "NotAllowedError") this.pause();
    });
  }

  #sound(): void {
    if (!this.#graph) {
      try {
        this.#graph = new Graph(this.#audio);
        this.#applyLanes();
      } catch {
        // No Web Audio here: the element plays by itself, with lanes as recorded.
        return;
      }
    }
    void this.#graph.resume();
  }

  #applyRate(): void {
    // A new source takes up the default rate.
    this.#audio.defaultPlaybackRate = this.rate.value;
    this.#audio.playbackRate = this.rate.value;
  }

  #applyLanes(): void {
    this.#graph?.setLanes(this.audible.value);
  }

  #loopFrames(): void {
    cancelAnimationFrame(this.#frame);
    const frame = () => {
      if (this.#audio.paused) return;
      this.#tick();
      this.#frame = requestAnimationFrame(frame);
    };
    this.#frame = requestAnimationFrame(frame);
  }

  /* Runs per frame, and per timeupdate where frames are suspended. */
  #tick(): void {
    if (this.#pendingTime !== null || this.#audio.seeking || this.#recovering) return;
    const before = this.time.value;
    const now = this.#audio.currentTime;
    this.time.value = now;
    if (this.#audio.paused) return;
    const { a, b } = this.loop.value;
    if (a !== null && b !== null && now >= b && before < b + 0.3 && before >= a) {
      this.seek(a);
      return;
    }
    const span = stretchAt(this.spans.value, now) as LabelledSpan | undefined;
    this.#tone();
    if (span && this.spanMode.value === "skip") {
      this.#skipTo(span.end, `Skipped ${span.label.toLowerCase()}, ${seconds(span.end - now)}`);
      return;
    }
    const silence = this.skipSilence.value ? stretchAt(this.silences.value, now) : undefined;
    // A seek costs about as much as a short gap.
    if (silence && silence.end - now > 0.4) {
      this.#skipTo(silence.end, `Skipped ${seconds(silence.end - now)} of silence`);
    }
  }

  #skipTo(end: number, notice: string): void {
    const { a, b } = this.loop.value;
    const inLoop = a !== null && b !== null && this.time.value >= a && this.time.value < b;
    this.say(notice);
    this.seek(inLoop && end >= b ? a : end);
  }

  #tone(): void {
    const span = this.spanMode.value === "tone" && stretchAt(this.spans.value, this.time.value);
    const toned = Boolean(span) && !this.#audio.paused;
    if (toned === this.#toned) return;
    this.#toned = toned;
    this.#graph?.setTone(toned ? "on" : "off");
  }

  async #newGrant(signal: AbortSignal): Promise<Grant> {
    const grant = await this.#parts.playback(signal);
    this.grants.value += 1;
    return grant;
  }

  /* Loads the media anew, from where the listener is. */
  async #adopt(grant: Grant): Promise<void> {
    batch(() => {
      this.grant.value = grant;
      this.#renewed = null;
      this.#pendingTime ??= this.time.value;
    });
    this.#audio.src = grant.mediaUri;
    this.#applyRate();
    this.#audio.load();
    this.#planRenewal(grant);
  }

  #planRenewal(grant: Grant): void {
    clearTimeout(this.#renewTimer);
    const wait = renewIn(grant.expires, Date.now());
    // Timers hold 31 bits of milliseconds.
    if (wait > 2 ** 31 - 1) return;
    this.#renewTimer = window.setTimeout(() => void this.#renew(), wait);
  }

  /* The next grant is taken up at a moment nobody hears: paused, at a seek, or just before the old
     one ends. */
  async #renew(): Promise<void> {
    if (this.status.value.kind !== "ready") return;
    const old = this.grant.value;
    try {
      this.#renewed = await this.#newGrant(this.#abort.signal);
    } catch {
      // The old grant serves to its end; the failure, if it lasts, comes back as a media error.
      return;
    }
    if (this.#audio.paused) {
      this.#swap();
      return;
    }
    const left = Math.max(0, Date.parse(old?.expires ?? "") - Date.now() - 2000);
    this.#renewTimer = window.setTimeout(() => this.#swap(), left);
  }

  #swap(): void {
    const grant = this.#renewed;
    if (grant) void this.#adopt(grant);
  }

  async #onMediaError(): Promise<void> {
    if (this.#recovering) return;
    const grant = this.grant.value;
    const unsupported =
      !this.verified.value && this.#audio.canPlayType(this.#parts.contentType) === "";
    await this.#recover(new Problem({ code: unsupported ? "unsupported" : "media", status: 0 }), undefined,
      grant?.mediaUri);
  }

  /* From a failure to sound again: learn the reason, wait, new grant, check it, load. One at a time.
     `failedUri` is asked for its reason first, since a media element gives none. */
  async #recover(first: Problem, firstDelayMs?: number, failedUri?: string): Promise<void> {
    this.#recovering?.abort();
    const current = new AbortController();
    this.#recovering = current;
    const { signal } = current;
    this.#pendingTime ??= this.time.value;
    this.#settled();
    let problem = first;
    try {
      if (failedUri && first.code !== "unsupported") problem = await this.#reason(failedUri, first, signal);
      for (let round = 0; ; round += 1) {
        const step = this.#recovery.next(problem, this.time.value, Math.random());
        if (step.kind === "give-up") {
          this.#fail(problem);
          return;
        }
        const wait = round === 0 && firstDelayMs !== undefined ? firstDelayMs : step.delayMs;
        this.status.value = {
          kind: "recovering", problem, attempt: step.attempt, of: step.of, until: Date.now() + wait,
        };
        await pause(wait, signal);
        try {
          const grant = await this.#newGrant(signal);
          await this.#parts.probe(grant.mediaUri, 0, signal);
          this.recoveries.value += 1;
          this.#recovering = null;
          await this.#adopt(grant);
          return;
        } catch (error) {
          if (signal.aborted) return;
          problem = problemFromError(error);
        }
      }
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    } finally {
      if (this.#recovering === current) this.#recovering = null;
    }
  }

  async #reason(uri: string, fallback: Problem, signal: AbortSignal): Promise<Problem> {
    try {
      await this.#parts.probe(uri, 0, signal);
      if (this.time.value > 0) await this.#parts.probe(uri, this.time.value / this.duration.value, signal);
      return fallback;
    } catch (error) {
      if (signal.aborted) throw error;
      const problem = problemFromError(error);
      // A grant that has ended is not the listener's lack of permission: the next one tells.
      return problem.code === "denied" || problem.code === "not-found" ? fallback : problem;
    }
  }

  #fail(error: unknown): void {
    if (this.#abort.signal.aborted) return;
    const problem = problemFromError(error);
    if (problem.passing && this.status.value.kind === "loading" && !this.#recovering) {
      void this.#recover(problem);
      return;
    }
    this.#wantPlaying = false;
    this.playing.value = false;
    this.status.value = { kind: "failed", problem };
  }
}

/* Solo wins over mute, as on a mixing desk. */
export function audibleLanes(lanes: readonly LaneState[]): boolean[] {
  const anySolo = lanes.some((lane) => lane.solo);
  const audible = lanes.map((lane) => (anySolo ? lane.solo : !lane.muted));
  // One lane: mono sound, which is on both inputs of the graph.
  return audible.length === 1 ? [audible[0]!, audible[0]!] : audible;
}

const OPEN: LaneState = { muted: false, solo: false };
const MIN_LOOP = 0.2;
const STALL_MS = 20_000;

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, Number.isFinite(value) ? value : low));
}

function seconds(value: number): string {
  return value < 10 ? `${value.toFixed(1)} s` : `${Math.round(value)} s`;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    }, { once: true });
  });
}
