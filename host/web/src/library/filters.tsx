/* The filter bar. What is chosen lives in the address, so that it can be sent, kept and gone back to. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { RecordingFilters } from "../api/client";
import { mediaName, providerName } from "../format";
import { go } from "../router";
import { activeFilters, libraryAddress } from "../state/library";
import { session } from "../state/session";
import { Close, Filter, Search } from "../ui/icons";

export function Filters({ filters }: { filters: RecordingFilters }) {
  const box = useRef<HTMLInputElement>(null);
  const timer = useRef(0);
  const unfolded = useSignal(false);
  const between = useSignal(false);
  const latest = useRef(filters);
  latest.current = filters;

  function set(change: Partial<RecordingFilters>) {
    clearTimeout(timer.current);
    go(libraryAddress({ ...latest.current, q: box.current?.value ?? latest.current.q, ...change }), "replace");
  }

  function onText() {
    clearTimeout(timer.current);
    timer.current = window.setTimeout(() => set({}), 180);
  }

  useEffect(() => {
    // The address changed by other means than this box.
    if (box.current && document.activeElement !== box.current) box.current.value = filters.q;
  }, [filters.q]);

  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (event.key !== "/" || event.ctrlKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) return;
      event.preventDefault();
      box.current?.focus();
      box.current?.select();
    };
    addEventListener("keydown", key);
    return () => { removeEventListener("keydown", key); clearTimeout(timer.current); };
  }, []);

  const tenants = session.value?.tenants ?? [];
  const providers = [...new Set([...tenants.map((tenant) => tenant.provider), "managed", "lkm", "aws-kms"])];
  const active = activeFilters(filters);
  const range = between.value ? "between" : presetOf(filters);
  return (
    <search class="filters" data-unfolded={unfolded.value}>
      <div class="search-box">
        <Search />
        <input
          class="input" type="search" ref={box} defaultValue={filters.q} onInput={onText} aria-label="Search recordings"
          placeholder="Name or number" aria-keyshortcuts="/" data-testid="filter-q" enterkeyhint="search"
          onKeyDown={(event) => {
            if (event.key === "Enter") set({});
            if (event.key === "ArrowDown") {
              event.preventDefault();
              document.querySelector<HTMLElement>("a.row-link")?.focus();
            }
          }}
        />
        <kbd class="search-key" aria-hidden="true">/</kbd>
      </div>
      <button
        type="button" class="button filters-button" aria-expanded={unfolded.value} aria-controls="filter-fields"
        onClick={() => { unfolded.value = !unfolded.value; }}
      >
        <Filter /> Filters{active > 0 && <span class="count">{active}</span>}
      </button>
      <div class="filter-fields" id="filter-fields">
        {tenants.length > 1 && (
          <Choice label="Organisation" any="All organisations" value={filters.tenant} name="tenant"
            options={tenants.map((tenant) => [tenant.id, tenant.name])} onChange={(tenant) => set({ tenant })} />
        )}
        <Choice label="Media" any="All media" value={filters.media} name="media"
          options={["call", "chat", "email", "message", "screen"].map((media) => [media, mediaName(media)])}
          onChange={(media) => set({ media })} />
        <Choice label="Key provider" any="All providers" value={filters.provider} name="provider"
          options={providers.map((provider) => [provider, providerName(provider)])} onChange={(provider) => set({ provider })} />
        <Choice label="Date" any="Any date" value={range} name="date"
          options={[["0", "Today"], ["6", "Last 7 days"], ["29", "Last 30 days"], ["between", "Between…"]]}
          onChange={(value) => {
            between.value = value === "between";
            if (value === "") set({ from: "", to: "" });
            else if (value !== "between") set({ from: daysAgo(Number(value)), to: "" });
          }} />
        {range === "between" && (
          <span class="date-range">
            <input class="input" type="date" aria-label="From" value={filters.from} max={filters.to || undefined} data-testid="filter-from"
              onChange={(event) => set({ from: event.currentTarget.value })} />
            <span class="muted">to</span>
            <input class="input" type="date" aria-label="To" value={filters.to} min={filters.from || undefined} data-testid="filter-to"
              onChange={(event) => set({ to: event.currentTarget.value })} />
          </span>
        )}
        {active > 0 && (
          <button type="button" class="button ghost" data-testid="filter-clear" onClick={() => {
            between.value = false;
            set({ tenant: "", media: "", provider: "", from: "", to: "" });
          }}>
            <Close size={16} /> Clear
          </button>
        )}
      </div>
    </search>
  );
}

function Choice(props: {
  label: string; any: string; name: string; value: string; options: string[][]; onChange: (value: string) => void;
}) {
  return (
    <select
      class="select" aria-label={props.label} value={props.value} data-set={props.value !== ""}
      data-testid={`filter-${props.name}`} onChange={(event) => props.onChange(event.currentTarget.value)}
    >
      <option value="">{props.any}</option>
      {props.options.map(([value, text]) => <option key={value} value={value}>{text}</option>)}
    </select>
  );
}

function presetOf(filters: RecordingFilters): string {
  if (!filters.from && !filters.to) return "";
  if (!filters.to) for (const days of [0, 6, 29]) if (filters.from === daysAgo(days)) return String(days);
  return "between";
}

function daysAgo(days: number): string {
  const date = new Date();
  date.setDate(date.getDate() - days);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
