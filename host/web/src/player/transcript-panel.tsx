/* The words, following the voice: a line per utterance, the word being spoken lit, search with marks.
   Not for: where a word is (engine/transcript.ts). */
import { useComputed, useSignalEffect } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { explain } from "../api/problem";
import { clock, roleName, spoken } from "../format";
import { Down, Follow, Search, Up } from "../ui/icons";
import { announce, Spinner } from "../ui/parts";
import type { Line, Match } from "./engine/transcript";
import type { Model } from "./model";

export function TranscriptPanel({ model, searchBox }: { model: Model; searchBox: RefObject<HTMLInputElement | null> }) {
  const scroller = useRef<HTMLDivElement>(null);
  const { lines } = model;
  const resource = lines.value;

  // Keeps the spoken line a third down the panel, while following.
  useSignalEffect(() => {
    const at = model.line.value;
    if (!model.follow.value || at < 0) return;
    scrollToLine(scroller.current, at);
  });

  useEffect(() => {
    const panel = scroller.current;
    if (!panel) return;
    // Whoever scrolls by hand wants to read: following stops until asked for again.
    const stop = () => { if (model.engine.playing.value) model.follow.value = false; };
    panel.addEventListener("wheel", stop, { passive: true });
    panel.addEventListener("touchmove", stop, { passive: true });
    return () => {
      panel.removeEventListener("wheel", stop);
      panel.removeEventListener("touchmove", stop);
    };
  }, [resource.state]);

  return (
    <section class="transcript card" aria-label="Transcript" id="panel-transcript">
      <header class="transcript-head">
        <h2>Transcript</h2>
        <SearchField model={model} box={searchBox} scroller={scroller} />
        <button type="button" class="button toggle" aria-pressed={model.follow.value} aria-keyshortcuts="f" data-testid="follow"
          onClick={() => {
            model.follow.value = !model.follow.value;
            if (model.follow.value) scrollToLine(scroller.current, Math.max(0, model.line.value));
          }}>
          <Follow /> <span>Follow</span>
        </button>
      </header>
      {resource.state === "loading" && <div class="transcript-state"><Spinner label="Loading the transcript" /></div>}
      {resource.state === "none" && <p class="transcript-state muted">There is no transcript of this recording.</p>}
      {resource.state === "failed" && (
        <p class="transcript-state" data-testid="transcript-problem"><strong>The transcript could not be opened.</strong> {explain(resource.problem).title}.</p>
      )}
      {resource.state === "ready" && (
        <div class="transcript-scroll" ref={scroller} tabIndex={0} role="region" aria-label="Transcript text">
          <Lines model={model} lines={resource.value} />
        </div>
      )}
    </section>
  );
}

function Lines({ model, lines }: { model: Model; lines: Line[] }) {
  const found = useComputed(() => {
    const byLine = new Map<number, { match: Match; index: number }[]>();
    model.matches.value.forEach((match, index) => {
      byLine.set(match.line, [...(byLine.get(match.line) ?? []), { match, index }]);
    });
    return byLine;
  });
  return (
    <ol class="lines" data-testid="transcript">
      {lines.map((line, index) => <LineItem key={line.id} model={model} line={line} index={index} found={found.value.get(index)} />)}
    </ol>
  );
}

function LineItem({ model, line, index, found }: {
  model: Model; line: Line; index: number; found: { match: Match; index: number }[] | undefined;
}) {
  const active = useComputed(() => model.line.value === index);
  const word = useComputed(() => (model.line.value === index ? model.word.value : -1));
  const currentMatch = useComputed(() => (found ? model.match.value : -1));
  const speaker = useMemo(() => {
    const known = model.recording.channels.find((channel) => channel.channel === line.channel)
      ?? model.recording.channels.find((channel) => channel.role === line.role);
    return known?.name || roleName(line.role);
  }, [line]);
  return (
    <li class="line" data-active={active.value} data-role={line.role} data-index={index} aria-current={active.value ? "true" : undefined}>
      <button type="button" class="line-time" onClick={() => model.engine.seek(line.start)}>
        <span aria-hidden="true">{clock(line.start)}</span><span class="visually-hidden">Go to {spoken(line.start)}</span>
      </button>
      <p class="line-text">
        <span class="line-speaker">{speaker}{speaker !== roleName(line.role) && <span class="line-role">{roleName(line.role)}</span>}</span>
        <span onClick={(event) => {
          const at = (event.target as HTMLElement).dataset["word"];
          if (at !== undefined && getSelection()?.isCollapsed !== false) model.engine.seek(line.words[Number(at)]!.start);
        }}>
          {line.words.map((each, at) => {
            const hit = found?.find(({ match }) => at >= match.from && at <= match.to);
            const state = hit ? (hit.index === currentMatch.value ? "current" : "hit") : undefined;
            return <><span key={at} class="word" data-word={at} data-now={at === word.value || undefined} data-match={state}>{each.text}</span>{" "}</>;
          })}
        </span>
      </p>
    </li>
  );
}

function SearchField({ model, box, scroller }: {
  model: Model; box: RefObject<HTMLInputElement | null>; scroller: RefObject<HTMLDivElement | null>;
}) {
  const count = model.matches.value.length;
  const reveal = () => {
    const match = model.matches.value[model.match.value];
    if (match) scrollToLine(scroller.current, match.line);
  };
  useEffect(() => {
    if (model.query.value === "") return;
    reveal();
    const timer = setTimeout(() => announce(`${count} ${count === 1 ? "match" : "matches"}`), 600);
    return () => clearTimeout(timer);
  }, [model.query.value, count]);
  const step = (by: number) => {
    model.stepMatch(by);
    reveal();
  };
  return (
    <div class="transcript-search" role="search">
      <Search size={16} />
      <input
        ref={box} class="input" type="search" placeholder="Search" aria-label="Search the transcript" aria-keyshortcuts="/"
        value={model.query.value} data-testid="transcript-search" spellcheck={false}
        onInput={(event) => model.setQuery(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") {
            event.preventDefault();
            step(event.shiftKey ? -1 : model.engine.time.value === model.matches.value[model.match.value]?.time ? 1 : 0);
          } else if (event.key === "Escape") {
            model.setQuery("");
            event.currentTarget.blur();
          }
        }}
      />
      {model.query.value !== "" && (
        <>
          <span class="match-count" data-testid="match-count">{count === 0 ? "None" : `${model.match.value + 1} of ${count}`}</span>
          <button type="button" class="button ghost square small" disabled={count === 0} onClick={() => step(-1)}><Up size={16} /><span class="visually-hidden">Previous match</span></button>
          <button type="button" class="button ghost square small" disabled={count === 0} onClick={() => step(1)}><Down size={16} /><span class="visually-hidden">Next match</span></button>
        </>
      )}
    </div>
  );
}

function scrollToLine(panel: HTMLDivElement | null, index: number): void {
  const line = panel?.querySelector<HTMLElement>(`[data-index="${index}"]`);
  if (!panel || !line) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  panel.scrollTo({ top: line.offsetTop - panel.clientHeight / 3, behavior: calm ? "auto" : "smooth" });
}
