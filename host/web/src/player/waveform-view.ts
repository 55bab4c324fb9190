/* The picture of the sound: wavesurfer, given peaks and never the media's address, so that it fetches
   nothing. It shows lanes, cursor, regions and ticks, and says where it was pressed.
   Not for: playing, keys, spoken values (waveform.tsx). */
import { signal } from "@preact/signals";
import WaveSurfer from "wavesurfer.js";
import RegionsPlugin, { type Region } from "wavesurfer.js/dist/plugins/regions.js";
import type { LabelledSpan, Loop } from "./engine/engine";
import type { Lane, Peaks } from "./engine/peaks";

export interface LaneColours {
  played: string;
  /* Opaque: wavesurfer paints the played part through the pixels of the other. */
  coming: string;
}

export interface Colours {
  lanes: LaneColours[];
  quiet: LaneColours;
}

export interface WaveformOptions {
  container: HTMLElement;
  audio: HTMLMediaElement;
  peaks: Peaks;
  lanes: Lane[];
  laneHeight: number;
  duration: number;
  onSeek: (time: number) => void;
  onLoop: (loop: Loop) => void;
}

export class WaveformView {
  /* Which part is seen, in seconds. */
  readonly view = signal({ start: 0, end: 0 });
  readonly zoom = signal(1);
  readonly #options: WaveformOptions;
  readonly #surfer: WaveSurfer;
  readonly #regions: ReturnType<typeof RegionsPlugin.create>;
  readonly #ticks: HTMLDivElement;
  readonly #abort = new AbortController();
  #loop: Region | null = null;
  #spans: Region[] = [];
  #width = 0;
  #ready = false;
  #waiting: (() => void)[] = [];

  constructor(options: WaveformOptions) {
    this.#options = options;
    this.view.value = { start: 0, end: options.duration };
    this.#regions = RegionsPlugin.create();
    this.#surfer = WaveSurfer.create({
      container: options.container,
      // A stand-in: wavesurfer would load, and on its end empty, an element that it is given here.
      media: document.createElement("audio"),
      peaks: options.lanes.map((lane) => options.peaks.channels[lane.channel] ?? new Float32Array(1)),
      duration: options.duration,
      height: options.laneHeight,
      // A hushed recording must not fill its lanes with its noise.
      maxPeak: Math.max(0.15, loudest(options.peaks)),
      normalize: true,
      splitChannels: options.lanes.map(() => ({ height: options.laneHeight })),
      barWidth: 2, barGap: 1, barRadius: 2, barMinHeight: 1.5,
      cursorWidth: 2, cursorColor: "var(--cursor)",
      interact: false, autoScroll: true, autoCenter: false, hideScrollbar: false,
      plugins: [this.#regions],
    });
    this.#adoptStyle();
    this.#ticks = document.createElement("div");
    this.#ticks.className = "ticks";
    this.#surfer.getWrapper().append(this.#ticks);
    this.#surfer.on("ready", () => this.#onReady());
    this.#surfer.on("error", () => undefined);
    this.#surfer.on("scroll", () => this.#onView());
    this.#surfer.on("redraw", () => this.#onView());
    this.#listen();
  }

  destroy(): void {
    this.#abort.abort();
    this.#surfer.destroy();
  }

  setColours(colours: Colours, audible: readonly boolean[]): void {
    this.#when(() => this.#surfer.setOptions({
      splitChannels: this.#options.lanes.map((lane, index) => {
        const colour = audible[lane.channel] ? colours.lanes[index]! : colours.quiet;
        return { height: this.#options.laneHeight, waveColor: colour.coming, progressColor: colour.played };
      }),
    }));
  }

  setZoom(zoom: number, around?: number): void {
    const value = Math.min(MAX_ZOOM, Math.max(1, zoom));
    if (value === this.zoom.value) return;
    this.zoom.value = value;
    this.#when(() => {
      const { duration } = this.#options;
      const width = this.#options.container.clientWidth;
      this.#surfer.zoom(value === 1 ? 0 : (width / duration) * value);
      const centre = around ?? this.#surfer.getCurrentTime();
      this.#surfer.setScroll((centre / duration) * width * value - width / 2);
      this.#onView();
    });
  }

  /* Moves what is seen so that it starts at `time`. */
  pan(time: number): void {
    this.#when(() => this.#surfer.setScrollTime(Math.max(0, time)));
  }

  setTicks(times: readonly number[], current: number): void {
    this.#ticks.replaceChildren(...times.map((time, index) => {
      const tick = document.createElement("i");
      tick.style.left = `${(time / this.#options.duration) * 100}%`;
      if (index === current) tick.className = "current";
      return tick;
    }));
  }

  setSpans(spans: readonly LabelledSpan[]): void {
    this.#when(() => {
      for (const span of this.#spans) span.remove();
      this.#spans = spans.map((span, index) => {
        const label = document.createElement("span");
        label.className = "span-label";
        label.textContent = span.label;
        return this.#regions.addRegion({
          id: `span span-${index}`, start: span.start, end: span.end, color: "var(--span)",
          drag: false, resize: false, content: label,
        });
      });
    });
  }

  setLoop(loop: Loop): void {
    this.#when(() => {
      const { a, b } = loop;
      if (a === null && b === null) {
        this.#loop?.remove();
        this.#loop = null;
        return;
      }
      const start = a ?? b!;
      const end = b ?? a! + 0.02;
      if (this.#loop) {
        if (this.#loop.start !== start || this.#loop.end !== end) this.#loop.setOptions({ start, end });
        return;
      }
      this.#loop = this.#regions.addRegion({ id: "loop", start, end, color: "var(--loop)", drag: true, resize: true });
    });
  }

  #onReady(): void {
    this.#surfer.setMediaElement(this.#options.audio);
    this.#ready = true;
    for (const action of this.#waiting.splice(0)) action();
    this.#regions.on("region-updated", (region) => {
      if (region.id === "loop") this.#options.onLoop({ a: region.start, b: region.end });
    });
    this.#onView();
  }

  #when(action: () => void): void {
    if (this.#ready) action();
    else this.#waiting.push(action);
  }

  #onView(): void {
    const { duration, container } = this.#options;
    const width = container.clientWidth;
    const total = this.#surfer.getWrapper().clientWidth || width;
    if (width === 0 || total === 0) return;
    const start = (this.#surfer.getScroll() / total) * duration;
    const end = Math.min(duration, start + (width / total) * duration);
    const before = this.view.peek();
    if (before.start !== start || before.end !== end || this.#width !== width) {
      this.#width = width;
      this.view.value = { start, end };
    }
  }

  /* A press seeks; with Shift, a drag marks a loop. A finger that moves pans instead. */
  #listen(): void {
    const wrapper = this.#surfer.getWrapper();
    const { signal } = this.#abort;
    let from: { x: number; time: number; marks: boolean } | null = null;
    const timeAt = (event: PointerEvent) => {
      const box = wrapper.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      return share * this.#options.duration;
    };
    wrapper.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || onHandle(event)) return;
      from = { x: event.clientX, time: timeAt(event), marks: event.shiftKey };
      if (event.pointerType === "touch") return;
      wrapper.setPointerCapture(event.pointerId);
      if (!from.marks) this.#options.onSeek(from.time);
    }, { signal });
    wrapper.addEventListener("pointermove", (event) => {
      if (!from || event.pointerType === "touch") return;
      if (Math.abs(event.clientX - from.x) < 3) return;
      if (from.marks) this.#options.onLoop({ a: from.time, b: timeAt(event) });
      else this.#options.onSeek(timeAt(event));
    }, { signal });
    wrapper.addEventListener("pointerup", (event) => {
      if (from && event.pointerType === "touch" && Math.abs(event.clientX - from.x) < 8) {
        this.#options.onSeek(timeAt(event));
      }
      from = null;
    }, { signal });
    wrapper.addEventListener("pointercancel", () => { from = null; }, { signal });
    this.#options.container.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const box = wrapper.getBoundingClientRect();
      const time = ((event.clientX - box.left) / box.width) * this.#options.duration;
      this.setZoom(this.zoom.value * (event.deltaY < 0 ? 1.25 : 0.8), time);
    }, { passive: false, signal });
  }

  /* wavesurfer's own rules, which the build takes out of its markup (vite.config.ts), and ours. */
  #adoptStyle(): void {
    const root = this.#surfer.getWrapper().getRootNode() as ShadowRoot;
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
  }
}

const MAX_ZOOM = 40;

const STYLE = `
:host { user-select: none; min-width: 1px; }
.scroll { overflow-x: auto; overflow-y: hidden; width: 100%; position: relative; scrollbar-width: none; }
.scroll::-webkit-scrollbar { display: none; }
.wrapper { position: relative; overflow: visible; z-index: 2; cursor: text; touch-action: pan-x pan-y; }
.canvases { pointer-events: none; }
.canvases > div { position: relative; }
canvas { display: block; position: absolute; top: 0; }
.progress { pointer-events: none; position: absolute; z-index: 2; top: 0; left: 0; width: 0; height: 100%; overflow: hidden; }
.progress > div { position: relative; }
.cursor { pointer-events: none; position: absolute; z-index: 6; top: 0; left: 0; height: 100%; border-radius: 2px; }
.canvases > div + div::before { content: ""; position: absolute; inset: 0 0 auto; border-top: 1px solid var(--border); }
.ticks { position: absolute; inset: 0; pointer-events: none; z-index: 5; }
.ticks i { position: absolute; top: 0; bottom: 0; width: 2px; margin-left: -1px; background: var(--tick); opacity: .75; }
.ticks i::before { content: ""; position: absolute; top: 0; left: -3px; border: 4px solid transparent; border-top-color: var(--tick); }
.ticks i.current { width: 3px; opacity: 1; background: var(--tick-current); }
.ticks i.current::before { border-width: 6px; left: -4.5px; border-top-color: var(--tick-current); }
[part~="span"] { background-image: repeating-linear-gradient(135deg, var(--span-stripe) 0 1px, transparent 1px 7px); border-inline: 1px solid var(--span-edge) !important; pointer-events: none !important; }
.span-label { position: absolute; top: 4px; left: 3px; padding: 1px 6px; border-radius: 4px; box-sizing: border-box;
  background: var(--surface); border: 1px solid var(--span-edge); color: var(--text); font: 550 11px/16px var(--font); white-space: nowrap; }
[part~="loop"] { border-inline: 2px solid var(--loop-edge); box-sizing: border-box; }
`;

function onHandle(event: PointerEvent): boolean {
  return event.composedPath().some((element) =>
    element instanceof HTMLElement && (element.part?.contains("region-handle") || element.part?.contains("loop")));
}

function loudest(peaks: Peaks): number {
  let most = 0;
  for (const channel of peaks.channels) for (const value of channel) if (value > most) most = value;
  return most;
}
