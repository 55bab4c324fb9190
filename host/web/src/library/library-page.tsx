/* The recordings that the listener may hear: found, filtered, opened. Not for: playing them. */
import { useSignal } from "@preact/signals";
import { useCallback, useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { loadPlayer } from "../app";
import type { RecordingSummary } from "../api/types";
import { clock, day, longDate, mediaName, providerName, spoken, timeOfDay, titleOf } from "../format";
import { follow, go, place, recordingAddress } from "../router";
import { session, signInAgain, tenantName } from "../state/session";
import { activeFilters, empty, filtersFrom, libraryAddress, listing, more, scrolled, show } from "../state/library";
import { Chat, In, Mail, Out, Phone, Screen, Transcript } from "../ui/icons";
import { announce, ProblemCard, Spinner } from "../ui/parts";
import { Filters } from "./filters";
import { ProtectionMark } from "./protection-mark";

export function LibraryPage() {
  const filters = filtersFrom(place.value.query);
  const address = libraryAddress(filters);
  const first = useRef(true);
  const end = useRef<HTMLDivElement>(null);

  useEffect(() => { document.title = "Recordings – Keyreel"; }, []);
  useEffect(() => {
    void show(filters, first.current ? "cached" : "fresh").then(() => {
      const { rows, next, state } = listing.value;
      if (state === "idle") announce(`${rows.length}${next ? " or more" : ""} recordings`);
    });
    first.current = false;
  }, [address]);

  useLayoutEffect(() => {
    scrollTo(0, scrolled.top);
    const keep = () => { if (place.value.path === "/") scrolled.top = scrollY; };
    addEventListener("scroll", keep, { passive: true });
    return () => removeEventListener("scroll", keep);
  }, []);

  // The next page is fetched a screen before its place comes into view.
  const { next, state } = listing.value;
  useEffect(() => {
    const mark = end.current;
    if (!mark || !next || state !== "idle") return;
    const observer = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) void more();
    }, { rootMargin: "600px" });
    observer.observe(mark);
    return () => observer.disconnect();
  }, [next, state]);

  useEffect(() => {
    if (listing.value.problem?.code === "unauthenticated") signInAgain();
  }, [listing.value.problem]);

  const clear = useCallback(() => go("/", "replace"), []);
  return (
    <main class="page library" id="content">
      <div class="library-head">
        <h1>Recordings</h1>
        <p class="muted" data-testid="count">
          {listing.value.rows.length > 0 && (next ? `${listing.value.rows.length} shown, more below` : `${listing.value.rows.length} ${activeFilters(filters) || filters.q ? "found" : "in all"}`)}
        </p>
      </div>
      <Filters filters={filters} />
      <Rows />
      {empty.value && <Empty filtered={activeFilters(filters) > 0 || filters.q !== ""} searched={filters.q !== ""} onClear={clear} />}
      {listing.value.state === "failed" && listing.value.problem && (
        <ProblemCard problem={listing.value.problem}>
          <button type="button" class="button primary" onClick={() => void (listing.value.rows.length > 0 ? more() : show(filters, "fresh"))}>
            Try again
          </button>
        </ProblemCard>
      )}
      <div class="library-end" ref={end}>
        {state === "more" && <Spinner label="Loading more recordings" />}
        {state === "idle" && next && (
          <button type="button" class="button" onClick={() => void more()}>Show more</button>
        )}
      </div>
    </main>
  );
}

function Rows() {
  const { rows, state } = listing.value;
  const list = useRef<HTMLDivElement>(null);
  const current = useSignal(0);
  const severalTenants = (session.value?.tenants.length ?? 0) > 1;

  function onKeyDown(event: KeyboardEvent) {
    const links = [...(list.current?.querySelectorAll<HTMLAnchorElement>("a.row-link") ?? [])];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    if (at < 0 || event.metaKey || event.ctrlKey || event.altKey) return;
    const steps: Record<string, number> = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, Home: 0, End: links.length - 1 };
    const to = steps[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const link = links[Math.max(0, Math.min(links.length - 1, to))];
    link?.focus();
    current.value = to;
  }

  if (rows.length === 0 && state === "loading") return <Skeleton />;
  if (rows.length === 0) return null;
  return (
    <div
      class="rows" role="table" aria-label="Recordings" aria-busy={state === "loading"} ref={list}
      data-tenants={severalTenants ? "several" : "one"} onKeyDown={onKeyDown}
    >
      <div role="rowgroup" class="rows-head">
        <div role="row" class="row">
          <span role="columnheader">Subject</span>
          <span role="columnheader">People</span>
          <span role="columnheader">Queue</span>
          {severalTenants && <span role="columnheader">Organisation</span>}
          <span role="columnheader">Started</span>
          <span role="columnheader" class="cell-length">Length</span>
          <span role="columnheader">Protection</span>
        </div>
      </div>
      <div role="rowgroup">
        {rows.map((row) => <Row key={row.tenant + row.id} row={row} tenant={severalTenants ? tenantName(row.tenant) : null} />)}
      </div>
    </div>
  );
}

function Row({ row, tenant }: { row: RecordingSummary; tenant: string | null }) {
  const agent = row.channels.find((channel) => channel.role === "agent");
  const others = row.channels.filter((channel) => channel !== agent);
  return (
    <div role="row" class="row" data-testid="row" data-id={row.id} data-media={row.media} data-tenant={row.tenant}>
      <div role="cell" class="cell-subject">
        <span class={`media-icon media-${row.media}`}><MediaIcon media={row.media} /><span class="visually-hidden">{mediaName(row.media)}: </span></span>
        <div class="subject-text">
          <a
            class="row-link" href={recordingAddress(row)} onClick={follow}
            onPointerEnter={loadPlayer} onFocus={loadPlayer}
          >
            {titleOf(row)}
          </a>
          <span class="subject-extra">
            {row.direction === "inbound" && <span class="fact"><In size={13} />Inbound</span>}
            {row.direction === "outbound" && <span class="fact"><Out size={13} />Outbound</span>}
            {row.hasTranscript && <span class="fact"><Transcript size={13} />Transcript</span>}
            {row.labels.map((label) => <span class="label" key={label}>{label}</span>)}
          </span>
        </div>
      </div>
      <div role="cell" class="cell-people">
        <span class="person">{agent?.name ?? (agent ? "Agent" : "")}</span>
        <span class="person muted">{others.map((other) => other.name || other.address || other.role).join(", ")}</span>
      </div>
      <div role="cell" class="cell-queue">{row.queue ?? ""}</div>
      {tenant !== null && <div role="cell" class="cell-tenant">{tenant}</div>}
      <div role="cell" class="cell-started" title={longDate(row.startTime)}>
        <span>{day(row.startTime)}</span> <span class="muted">{timeOfDay(row.startTime)}</span>
      </div>
      <div role="cell" class="cell-length">
        <span aria-hidden="true">{clock(row.durationMs / 1000)}</span>
        <span class="visually-hidden">{spoken(row.durationMs / 1000)}</span>
      </div>
      <div role="cell" class="cell-protection"><ProtectionMark provider={row.provider} algorithm={row.wrapAlgorithm} kek={row.kekId} name={providerName(row.provider)} /></div>
    </div>
  );
}

export function MediaIcon({ media, size = 18 }: { media: string; size?: number }) {
  switch (media) {
    case "chat": case "message": return <Chat size={size} />;
    case "email": return <Mail size={size} />;
    case "screen": return <Screen size={size} />;
    default: return <Phone size={size} />;
  }
}

function Empty({ filtered, searched, onClear }: { filtered: boolean; searched: boolean; onClear: () => void }) {
  return (
    <div class="empty" data-testid="empty">
      <h2>{filtered ? "Nothing matches" : "No recordings yet"}</h2>
      <p class="muted">
        {filtered
          ? "No recording that you may hear fits these filters."
          : "Recordings appear here as soon as they are sealed. An administrator adds them with “keyreel import”."}
      </p>
      {searched && (
        <p class="muted" data-testid="search-hint">
          Names and subjects are found by whole words, numbers and addresses whole, queues and labels by any part.
        </p>
      )}
      {filtered && <button type="button" class="button" onClick={onClear}>Clear all filters</button>}
    </div>
  );
}

function Skeleton() {
  return (
    <div class="skeleton" role="status">
      <span class="visually-hidden">Loading recordings</span>
      {Array.from({ length: 8 }, (_, index) => <div class="skeleton-row" key={index} aria-hidden="true"><i /><i /><i /><i /></div>)}
    </div>
  );
}

