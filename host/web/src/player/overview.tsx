/* The whole recording in one strip: what is seen, where we are, marked stretches and matches. A press
   goes there. For the eye and the pointer; the slider beside it serves everybody else. */
import { useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { dark } from "../state/theme";
import type { Lane, Peaks } from "./engine/peaks";
import type { Model } from "./model";

export function Overview({ model }: { model: Model }) {
  const { engine } = model;
  const canvas = useRef<HTMLCanvasElement>(null);
  const strip = useRef<HTMLDivElement>(null);
  const head = useRef<HTMLElement>(null);

  useSignalEffect(() => {
    const peaks = model.peaks.value;
    const lanes = model.lanes.value;
    void dark.value;
    void model.view.value?.view.value;
    if (peaks.state !== "ready") return;
    queueMicrotask(() => { if (canvas.current) draw(canvas.current, peaks.value, lanes); });
  });
  useSignalEffect(() => {
    const share = engine.time.value / (engine.duration.value || 1);
    if (head.current) head.current.style.left = `${Math.min(1, share) * 100}%`;
  });

  const duration = engine.duration.value || 1;
  const seen = model.view.value?.view.value;
  const zoomed = (model.view.value?.zoom.value ?? 1) > 1;
  const percent = (time: number) => `${(time / duration) * 100}%`;
  const seek = (event: PointerEvent) => {
    const box = strip.current!.getBoundingClientRect();
    engine.seek(((event.clientX - box.left) / box.width) * duration);
  };
  return (
    <div
      class="overview" ref={strip} aria-hidden="true" data-testid="overview"
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        seek(event);
      }}
      onPointerMove={(event) => { if (event.buttons & 1) seek(event); }}
    >
      <canvas ref={canvas} />
      {engine.spans.value.map((span) => <i class="overview-span" key={span.start} style={{ left: percent(span.start), width: percent(span.end - span.start) }} />)}
      {model.matches.value.map((match) => <i class="overview-tick" key={`${match.line}-${match.from}`} style={{ left: percent(match.time) }} />)}
      {zoomed && seen && <i class="overview-window" style={{ left: percent(seen.start), width: percent(seen.end - seen.start) }} />}
      <i class="overview-head" ref={head} />
    </div>
  );
}

/* The first lane upwards, the second downwards. */
function draw(canvas: HTMLCanvasElement, peaks: Peaks, lanes: Lane[]): void {
  const ratio = Math.min(2, devicePixelRatio || 1);
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(canvas.clientHeight * ratio);
  if (width === 0 || height === 0) return;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) return;
  const style = getComputedStyle(canvas);
  const middle = height / 2;
  let most = 0.15;
  for (const channel of peaks.channels) for (const value of channel) if (value > most) most = value;
  lanes.forEach((lane, index) => {
    const channel = peaks.channels[lane.channel];
    if (!channel) return;
    // Colours come through properties that the browser has resolved for the theme.
    context.fillStyle = index === 0 ? style.color : style.outlineColor;
    for (let x = 0; x < width; x += 1) {
      const from = Math.floor((x / width) * channel.length);
      const to = Math.max(from + 1, Math.floor(((x + 1) / width) * channel.length));
      let value = 0;
      for (let at = from; at < to; at += 1) value = Math.max(value, channel[at] ?? 0);
      const size = Math.max(ratio / 2, (value / most) * middle * 0.95);
      if (lanes.length === 1) context.fillRect(x, middle - size, 1, size * 2);
      else context.fillRect(x, index === 0 ? middle - size : middle, 1, size);
    }
  });
}
