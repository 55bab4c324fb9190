/* The controls under the waveform. Each has a word, a key, and a state that is not colour alone. */
import { useComputed, useSignal } from "@preact/signals";
import { useCallback } from "preact/hooks";
import { clock, spokenPosition } from "../format";
import { Back10, Close, Forward10, Help, Loop, More, Pause, Play, SkipSilence, Volume, VolumeOff, ZoomIn, ZoomOut } from "../ui/icons";
import { Popover } from "../ui/parts";
import { SPEEDS, type SpanMode } from "./engine/engine";
import type { Model } from "./model";

export function Transport({ model }: { model: Model }) {
  const { engine } = model;
  const playing = engine.playing.value;
  const busy = playing && (engine.waiting.value || engine.status.value.kind !== "ready");
  return (
    <div class="transport">
      <div class="transport-main">
        <button type="button" class="button ghost square" onClick={() => engine.nudge(-10)} aria-keyshortcuts="j" data-testid="back">
          <Back10 size={22} /><span class="visually-hidden">Back 10 seconds</span>
        </button>
        <button type="button" class="play" onClick={() => engine.toggle()} aria-keyshortcuts="k" data-testid="play" data-busy={busy}>
          {playing ? <Pause size={22} /> : <Play size={22} />}
          <span class="visually-hidden">{playing ? "Pause" : "Play"}</span>
        </button>
        <button type="button" class="button ghost square" onClick={() => engine.nudge(10)} aria-keyshortcuts="l" data-testid="forward">
          <Forward10 size={22} /><span class="visually-hidden">Forward 10 seconds</span>
        </button>
        <Time model={model} />
        <label class="speed">
          <span class="visually-hidden">Speed</span>
          <select class="select" value={String(engine.rate.value)} data-testid="speed" data-set={engine.rate.value !== 1}
            onChange={(event) => engine.setRate(Number(event.currentTarget.value))}>
            {SPEEDS.map((speed) => <option key={speed} value={String(speed)}>{speed}×</option>)}
          </select>
        </label>
      </div>
      <div class="transport-tools wide-only"><Tools model={model} /></div>
      <MoreTools model={model} />
    </div>
  );
}

function Time({ model }: { model: Model }) {
  const { engine } = model;
  const now = useComputed(() => clock(engine.time.value, "tenths"));
  return (
    <div class="time" data-testid="time">
      <span aria-hidden="true"><span class="time-now">{now}</span><span class="time-all"> / {clock(engine.duration.value)}</span></span>
      <span class="visually-hidden">{spokenPosition(engine.second.value, engine.duration.value)}</span>
    </div>
  );
}

function Tools({ model }: { model: Model }) {
  const { engine } = model;
  const { a, b } = engine.loop.value;
  const looping = a !== null || b !== null;
  return (
    <>
      <button type="button" class="button toggle" aria-pressed={engine.skipSilence.value} aria-keyshortcuts="s" data-testid="skip-silence"
        disabled={model.peaks.value.state !== "ready"} onClick={() => { engine.skipSilence.value = !engine.skipSilence.value; }}>
        <SkipSilence /> Skip silence
      </button>
      <div class="group" role="group" aria-label="Loop">
        <button type="button" class="button" onClick={() => engine.markLoop("a")} aria-keyshortcuts="[" data-testid="loop-a" data-on={a !== null}>
          <Loop /> <span class="visually-hidden">Loop from here: </span>A{a !== null && <span class="mono">{clock(a)}</span>}
        </button>
        <button type="button" class="button" onClick={() => engine.markLoop("b")} aria-keyshortcuts="]" data-testid="loop-b" data-on={b !== null}>
          <span class="visually-hidden">Loop to here: </span>B{b !== null && <span class="mono">{clock(b)}</span>}
        </button>
        {looping && (
          <button type="button" class="button square" onClick={() => engine.clearLoop()} aria-keyshortcuts="\\" data-testid="loop-clear">
            <Close size={16} /><span class="visually-hidden">No loop</span>
          </button>
        )}
      </div>
      {engine.spans.value.length > 0 && (
        <label class="with-label">
          <span>Holds and pauses</span>
          <select class="select" value={engine.spanMode.value} data-testid="span-mode" data-set={engine.spanMode.value !== "play"}
            onChange={(event) => engine.setSpanMode(event.currentTarget.value as SpanMode)}>
            <option value="play">play</option>
            <option value="skip">skip, and say so</option>
            <option value="tone">tone instead</option>
          </select>
        </label>
      )}
      <span class="spacer" />
      <Zoom model={model} />
      <VolumeControl model={model} />
      <button type="button" class="button ghost square" onClick={() => { model.help.value = true; }} aria-keyshortcuts="?" data-testid="help-button">
        <Help /><span class="visually-hidden">Keyboard help</span>
      </button>
    </>
  );
}

function MoreTools({ model }: { model: Model }) {
  const open = useSignal(false);
  const close = useCallback(() => { open.value = false; }, [open]);
  return (
    <div class="anchor narrow-only">
      <button type="button" class="button ghost square" aria-expanded={open.value} data-testid="more" onClick={() => { open.value = !open.value; }}>
        <More /><span class="visually-hidden">More controls</span>
      </button>
      <Popover open={open.value} onClose={close} class="more-tools" label="More controls"><Tools model={model} /></Popover>
    </div>
  );
}

function Zoom({ model }: { model: Model }) {
  const view = model.view.value;
  if (!view) return null;
  // The slider is even in octaves: each step looks alike.
  const octaves = Math.log2(view.zoom.value);
  return (
    <div class="zoom" role="group" aria-label="Zoom">
      <button type="button" class="button ghost square" disabled={octaves === 0} onClick={() => view.setZoom(view.zoom.value / 1.6)} aria-keyshortcuts="-">
        <ZoomOut /><span class="visually-hidden">Zoom out</span>
      </button>
      <input type="range" class="range" min="0" max="5.3" step="0.1" value={octaves} aria-label="Zoom"
        aria-valuetext={`${view.zoom.value.toFixed(1)} times`} data-testid="zoom"
        onInput={(event) => view.setZoom(2 ** Number(event.currentTarget.value))} />
      <button type="button" class="button ghost square" onClick={() => view.setZoom(view.zoom.value * 1.6)} aria-keyshortcuts="+">
        <ZoomIn /><span class="visually-hidden">Zoom in</span>
      </button>
    </div>
  );
}

function VolumeControl({ model }: { model: Model }) {
  const { engine } = model;
  const silent = engine.muted.value || engine.volume.value === 0;
  return (
    <div class="volume" role="group" aria-label="Volume">
      <button type="button" class="button ghost square" aria-pressed={engine.muted.value} aria-keyshortcuts="m" data-testid="mute"
        onClick={() => engine.setMuted(!engine.muted.value)}>
        {silent ? <VolumeOff /> : <Volume />}<span class="visually-hidden">Mute</span>
      </button>
      <input type="range" class="range" min="0" max="1" step="0.05" value={engine.muted.value ? 0 : engine.volume.value} aria-label="Volume"
        aria-valuetext={`${Math.round(engine.volume.value * 100)} percent`} onInput={(event) => engine.setVolume(Number(event.currentTarget.value))} />
    </div>
  );
}
