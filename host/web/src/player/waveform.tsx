/* The waveform with its lanes, ruler and overview, and the slider that assistive technology sees.
   Not for: how it is drawn (waveform-view.ts). */
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { explain } from "../api/problem";
import { clock, roleName, spokenPosition } from "../format";
import { dark } from "../state/theme";
import { Headset, People, Person } from "../ui/icons";
import { Spinner } from "../ui/parts";
import type { Lane } from "./engine/peaks";
import type { Model } from "./model";
import { Overview } from "./overview";
import { WaveformView, type Colours } from "./waveform-view";

export function Waveform({ model }: { model: Model }) {
  const { engine } = model;
  const container = useRef<HTMLDivElement>(null);
  const resource = model.peaks.value;
  const narrow = useNarrow();
  const laneHeight = narrow ? 48 : model.lanes.value.length > 1 ? 64 : 96;

  useLayoutEffect(() => {
    if (resource.state !== "ready" || !container.current) return;
    const audio = document.querySelector<HTMLAudioElement>("audio")!;
    const view = new WaveformView({
      container: container.current, audio, peaks: resource.value, lanes: model.lanes.value, laneHeight,
      duration: engine.duration.peek() || resource.value.duration,
      onSeek: (time) => engine.seek(time), onLoop: (loop) => engine.setLoop(loop),
    });
    model.view.value = view;
    return () => {
      model.view.value = null;
      view.destroy();
    };
  }, [resource.state, laneHeight]);

  useSignalEffect(() => {
    const view = model.view.value;
    void dark.value;
    const audible = engine.audible.value;
    // After the theme's attribute is on the document.
    queueMicrotask(() => view?.setColours(coloursOf(container.current, model.lanes.peek()), audible));
  });
  useSignalEffect(() => { model.view.value?.setSpans(engine.spans.value); });
  useSignalEffect(() => { model.view.value?.setLoop(engine.loop.value); });
  useSignalEffect(() => {
    model.view.value?.setTicks(model.matches.value.map((match) => match.time), model.match.value);
  });

  return (
    <div class="waveform" data-state={resource.state} data-lanes={model.lanes.value.length}>
      <div class="overview-row"><span class="overview-label" aria-hidden="true">Overview</span><Overview model={model} /></div>
      <div class="lanes">
        <div class="lane-heads">{model.lanes.value.map((lane) => <LaneHead key={lane.channel} model={model} lane={lane} />)}</div>
        <div class="wave-column">
          <Slider model={model}>
            <div class="wave" ref={container} />
            {resource.state === "loading" && <div class="wave-state"><Spinner label="Loading the waveform" /></div>}
            {resource.state === "none" && <div class="wave-state muted">There is no waveform of this recording.</div>}
            {resource.state === "failed" && <div class="wave-state muted">No waveform: {explain(resource.problem).title.toLowerCase()}.</div>}
          </Slider>
          <Ruler model={model} />
        </div>
      </div>
      <SpanNow model={model} />
    </div>
  );
}

function Slider({ model, children }: { model: Model; children: preact.ComponentChildren }) {
  const { engine } = model;
  // While playing, a value spoken every second would talk over the recording.
  const value = useComputed(() => {
    const second = engine.second.value;
    return engine.playing.value ? second - (second % 5) : second;
  });
  return (
    <div
      class="wave-slider" role="slider" tabIndex={0} aria-label="Position in the recording" aria-orientation="horizontal"
      aria-valuemin={0} aria-valuemax={Math.floor(engine.duration.value)} aria-valuenow={value.value}
      aria-valuetext={spokenPosition(value.value, engine.duration.value)} data-testid="waveform"
      onClick={(event) => {
        // Without a picture there is still a place to press.
        if (model.view.value) return;
        const box = event.currentTarget.getBoundingClientRect();
        engine.seek(((event.clientX - box.left) / box.width) * engine.duration.value);
      }}
    >
      {children}
    </div>
  );
}

function LaneHead({ model, lane }: { model: Model; lane: Lane }) {
  const { engine } = model;
  const state = engine.lanes.value[lane.channel] ?? { muted: false, solo: false };
  const audible = engine.audible.value[lane.channel] ?? true;
  const who = lane.role === "mixed" ? "Everyone" : roleName(lane.role);
  const single = model.lanes.value.length === 1;
  return (
    <div class="lane-head" data-role={lane.role} data-audible={audible} data-testid={`lane-${lane.role || lane.channel}`} role="group" aria-label={`${who} ${lane.name}`}>
      <span class={`role-icon role-${lane.role}`}>
        {lane.role === "agent" ? <Headset size={16} /> : lane.role === "mixed" ? <People size={16} /> : <Person size={16} />}
      </span>
      <span class="lane-names"><span class="lane-name">{lane.name || who}</span><span class="lane-role">{audible ? who : `${who}, muted`}</span></span>
      {!single && (
        <span class="lane-buttons">
          <button type="button" class="lane-button" aria-pressed={state.muted} title={`Mute ${who.toLowerCase()}`} data-testid={`mute-${lane.role || lane.channel}`}
            onClick={() => engine.toggleLane(lane.channel, "muted")}><span aria-hidden="true">M</span><span class="visually-hidden">Mute {who.toLowerCase()}</span></button>
          <button type="button" class="lane-button solo" aria-pressed={state.solo} title={`Hear only ${who.toLowerCase()}`} data-testid={`solo-${lane.role || lane.channel}`}
            onClick={() => engine.toggleLane(lane.channel, "solo")}><span aria-hidden="true">S</span><span class="visually-hidden">Hear only {who.toLowerCase()}</span></button>
        </span>
      )}
    </div>
  );
}

function Ruler({ model }: { model: Model }) {
  const view = model.view.value?.view.value ?? { start: 0, end: model.engine.duration.value };
  const span = Math.max(0.001, view.end - view.start);
  const wide = !useNarrow();
  const step = STEPS.find((candidate) => span / candidate <= (wide ? 12 : 5)) ?? 3600;
  const ticks: number[] = [];
  for (let time = Math.ceil(view.start / step) * step; time <= view.end + 1e-6; time += step) ticks.push(time);
  return (
    <div class="ruler" aria-hidden="true">
      {ticks.map((time) => {
        const share = (time - view.start) / span;
        return <span key={time} style={{ left: `${share * 100}%` }} data-edge={share > 0.97 ? "end" : share < 0.02 ? "start" : undefined}>{clock(time)}</span>;
      })}
    </div>
  );
}

/* Says that the listener is in a hold or a secure pause, so that its quiet explains itself. */
function SpanNow({ model }: { model: Model }) {
  const span = model.engine.currentSpan.value;
  if (!span) return null;
  const description = model.recording.spans.find((known) => known.startMs / 1000 === span.start)?.description;
  return (
    <p class="span-now" data-testid="span-now"><strong>{span.label}</strong>{description ? `: ${description}` : ""}
      <span class="muted"> until {clock(span.end)}</span></p>
  );
}

function useNarrow(): boolean {
  const query = matchMedia("(max-width: 760px)");
  const narrow = useSignal(query.matches);
  useEffect(() => {
    const change = () => { narrow.value = query.matches; };
    query.addEventListener("change", change);
    return () => query.removeEventListener("change", change);
  }, []);
  return narrow.value;
}

/* Canvas wants plain colours: the style sheet's are read from probes in the document. */
function coloursOf(near: HTMLElement | null, lanes: Lane[]): Colours {
  const read = (value: string) => {
    const probe = document.createElement("i");
    probe.style.color = value;
    (near ?? document.body).append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };
  const pair = (variable: string) => ({
    played: read(`var(${variable})`),
    coming: read(`color-mix(in srgb, var(${variable}) 42%, var(--surface))`),
  });
  return {
    lanes: lanes.map((lane) => pair(lane.role === "agent" ? "--agent" : lane.role === "customer" ? "--customer" : "--voice")),
    quiet: pair("--lane-quiet"),
  };
}

const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
