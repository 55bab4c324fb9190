/* The player's page: fetches the recording, makes its model, lays out the parts and listens to keys. */
import "../styles/player.css";
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import { useCallback, useEffect, useRef } from "preact/hooks";
import * as api from "../api/client";
import { Problem, problemFromError } from "../api/problem";
import type { Recording } from "../api/types";
import { clock, day, longDate, mediaName, parseTime, timeOfDay, titleOf } from "../format";
import { follow } from "../router";
import { signInAgain, tenantName } from "../state/session";
import { In, Left, Link, Out, Refresh } from "../ui/icons";
import { announce, ProblemCard, Spinner } from "../ui/parts";
import { diagnose } from "./diagnostics";
import { HelpDialog } from "./help-dialog";
import { handleKey } from "./keyboard";
import { Model } from "./model";
import { ProtectionBadge } from "./protection-badge";
import { SidePanel } from "./side-panel";
import { TranscriptPanel } from "./transcript-panel";
import { Transport } from "./transport";
import { Waveform } from "./waveform";

export function PlayerPage({ id, tenant, startAt }: { id: string; tenant: string | null; startAt: string | null }) {
  const recording = useSignal<Recording | null>(null);
  const problem = useSignal<Problem | null>(null);
  const model = useSignal<Model | null>(null);
  const audio = useRef<HTMLAudioElement>(null);
  const attempt = useSignal(0);

  useEffect(() => {
    const abort = new AbortController();
    let made: Model | null = null;
    problem.value = null;
    // The grant does not wait for the words about the recording.
    const named = { id, tenant };
    const grant = api.playback(named, abort.signal);
    grant.catch(() => undefined);
    api.recording(named, abort.signal).then((value) => {
      if (abort.signal.aborted || !audio.current) return;
      recording.value = value;
      document.title = `${titleOf(value)} – Keyreel`;
      made = new Model(value, named, audio.current, parseTime(startAt) ?? 0, grant);
      model.value = made;
    }).catch((error: unknown) => {
      if (abort.signal.aborted) return;
      problem.value = problemFromError(error);
      if (problem.value.code === "unauthenticated") signInAgain();
    });
    return () => {
      abort.abort();
      made?.destroy();
      model.value = null;
    };
  }, [id, tenant, attempt.value]);

  // A link to another moment of the recording that is already open.
  const firstStart = useRef(startAt);
  useEffect(() => {
    if (startAt === firstStart.current) return;
    firstStart.current = startAt;
    const time = parseTime(startAt);
    if (time !== undefined) model.value?.engine.seek(time);
  }, [startAt]);

  return (
    <main class="page player" id="content">
      <audio ref={audio} preload="metadata" data-testid="audio" />
      {problem.value ? (
        <div class="centred">
          <ProblemCard problem={problem.value}>
            {problem.value.passing && <button type="button" class="button primary" onClick={() => { attempt.value += 1; }}>Try again</button>}
            <a class="button" href="/" onClick={follow}>Back to the recordings</a>
          </ProblemCard>
        </div>
      ) : model.value && recording.value ? <Open model={model.value} /> : <div class="centred"><Spinner label="Opening the recording" /></div>}
    </main>
  );
}

function Open({ model }: { model: Model }) {
  const { recording, engine } = model;
  const searchBox = useRef<HTMLInputElement>(null);
  const tab = useSignal<"transcript" | "details">("transcript");

  const copyLink = useCallback(() => {
    const at = clock(engine.time.value);
    copy(model.address()).then(
      () => engine.say(`Link at ${at} copied`),
      () => engine.say("The browser did not allow copying"),
    );
  }, [model]);

  useEffect(() => diagnose(model), [model]);
  useEffect(() => {
    const actions = {
      copyLink,
      focusSearch: () => {
        const focus = () => { searchBox.current?.focus(); searchBox.current?.select(); };
        // On a phone the transcript may be behind the other tab, and is shown with the next frame.
        const hidden = tab.value !== "transcript";
        tab.value = "transcript";
        if (hidden) requestAnimationFrame(focus);
        else focus();
      },
    };
    const key = (event: KeyboardEvent) => {
      if (handleKey(event, model, actions)) event.preventDefault();
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, [model]);

  return (
    <>
      <header class="player-head">
        <a class="button ghost square back" href="/" onClick={follow}><Left /><span class="visually-hidden">Back to the recordings</span></a>
        <div class="player-title">
          <h1>{titleOf(recording)}</h1>
          <p class="muted player-facts">
            <span title={longDate(recording.startTime)}>{day(recording.startTime)}, {timeOfDay(recording.startTime)}</span>
            {recording.direction === "inbound" && <span class="fact"><In size={14} />Inbound {mediaName(recording.media).toLowerCase()}</span>}
            {recording.direction === "outbound" && <span class="fact"><Out size={14} />Outbound {mediaName(recording.media).toLowerCase()}</span>}
            {recording.queue && <span>{recording.queue}</span>}
            <span>{tenantName(recording.tenant)}</span>
          </p>
        </div>
        <div class="player-actions">
          <ProtectionBadge model={model} />
          <button type="button" class="button" onClick={copyLink} data-testid="copy-link" aria-keyshortcuts="c">
            <Link /> <span class="wide-only">Copy link at this time</span><span class="narrow-only visually-hidden">Copy link at this time</span>
          </button>
        </div>
      </header>
      <section class="deck" aria-label="Player">
        <StatusLine model={model} />
        <Waveform model={model} />
        <Transport model={model} />
        <Notice model={model} />
      </section>
      <div class="tabs narrow-only" role="tablist" aria-label="Below the player">
        {(["transcript", "details"] as const).map((name) => (
          <button type="button" role="tab" key={name} id={`tab-${name}`} aria-selected={tab.value === name} aria-controls={`panel-${name}`}
            onClick={() => { tab.value = name; }}>
            {name === "transcript" ? "Transcript" : "Details"}
          </button>
        ))}
      </div>
      <div class="below" data-tab={tab.value}>
        <TranscriptPanel model={model} searchBox={searchBox} />
        <SidePanel model={model} />
      </div>
      {model.help.value && <HelpDialog onClose={() => { model.help.value = false; }} />}
    </>
  );
}

/* What is going wrong, while it is: trying again, or given up with what to do. */
function StatusLine({ model }: { model: Model }) {
  const { engine } = model;
  const status = engine.status.value;
  const now = useSignal(Date.now());
  useEffect(() => {
    if (status.kind !== "recovering") return;
    const timer = setInterval(() => { now.value = Date.now(); }, 500);
    return () => clearInterval(timer);
  }, [status.kind]);
  useSignalEffect(() => {
    if (engine.recoveries.value > 0) announce("Playback recovered");
  });
  if (status.kind === "recovering") {
    const left = Math.max(0, Math.ceil((status.until - now.value) / 1000));
    return (
      <div class="status-line" role="status" data-testid="recovering" data-code={status.problem.code}>
        <Refresh class="turning" />
        <span class="status-words">
          <strong>{recoveringTitle(status.problem)}.</strong>{" "}
          {left > 1 ? `Trying again in ${left} seconds` : "Trying again now"} <span class="muted">({status.attempt} of {status.of})</span>
        </span>
        <button type="button" class="button small" onClick={() => engine.retry()}>Try now</button>
      </div>
    );
  }
  if (status.kind !== "failed") return null;
  const { problem } = status;
  return (
    <ProblemCard problem={problem}>
      {problem.code === "unauthenticated"
        ? <button type="button" class="button primary" onClick={() => {
            // Back to this moment, not only to this recording.
            history.replaceState(null, "", model.address());
            signInAgain();
          }}>Sign in</button>
        : <button type="button" class="button primary" onClick={() => engine.retry()} data-testid="retry">Try again</button>}
      {(problem.code === "media" || problem.code === "integrity") && engine.time.value > 0 && (
        <button type="button" class="button" onClick={() => { engine.nudge(10); engine.play(); }}>Go on 10 seconds later</button>
      )}
      <a class="button" href="/" onClick={follow}>Back to the recordings</a>
    </ProblemCard>
  );
}

function recoveringTitle(problem: Problem): string {
  switch (problem.code) {
    case "media": return "The sound was interrupted";
    case "offline": return "No connection to Keyreel";
    case "timeout": case "unavailable": return "Your key service did not answer";
    case "throttled": return "Your key service is busy";
    case "circuit-open": return "Your key service keeps failing";
    default: return "Keyreel is not ready";
  }
}

function Notice({ model }: { model: Model }) {
  const shown = useSignal("");
  const text = useComputed(() => shown.value);
  useSignalEffect(() => {
    const notice = model.engine.notice.value;
    if (!notice) return;
    shown.value = notice.text;
    const timer = setTimeout(() => { shown.value = ""; }, 2600);
    return () => clearTimeout(timer);
  });
  return <div class="notice" role="status" data-shown={text.value !== ""} data-testid="notice">{text.value}</div>;
}

/* Where the clipboard API is closed (plain http on another machine), the old way still works. */
async function copy(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (!done) throw new Error("copying was refused");
}

