/* The listing: filters, which live in the address, and the pages fetched so far. It outlives the
   library page, so that going back shows it at once. Not for: drawing it (library/). */
import { computed, signal } from "@preact/signals";
import * as api from "../api/client";
import type { RecordingFilters } from "../api/client";
import { Problem, problemFromError } from "../api/problem";
import type { RecordingSummary } from "../api/types";

export const PAGE = 50;
export const NO_FILTERS: RecordingFilters = { q: "", tenant: "", media: "", provider: "", from: "", to: "" };

export interface Listing {
  key: string;
  rows: RecordingSummary[];
  next: string | null;
  state: "loading" | "more" | "idle" | "failed";
  problem: Problem | null;
}

export const listing = signal<Listing>({ key: "", rows: [], next: null, state: "idle", problem: null });
export const empty = computed(() => listing.value.state === "idle" && listing.value.rows.length === 0);
/* How far down the listener was. */
export const scrolled = { top: 0 };

let running: AbortController | null = null;
let fetchedAt = 0;

export function filtersFrom(query: URLSearchParams): RecordingFilters {
  const filters = { ...NO_FILTERS };
  for (const name of Object.keys(filters) as (keyof RecordingFilters)[]) {
    filters[name] = query.get(name) ?? "";
  }
  return filters;
}

export function libraryAddress(filters: RecordingFilters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(filters)) if (value) query.set(name, value);
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

export function activeFilters(filters: RecordingFilters): number {
  const { from, to, q: _text, ...rest } = filters;
  return Object.values(rest).filter(Boolean).length + (from || to ? 1 : 0);
}

/* Fetches the first page, unless what is shown is already that. */
export async function show(filters: RecordingFilters, how: "cached" | "fresh"): Promise<void> {
  const key = JSON.stringify(filters);
  const before = listing.value;
  // Longer lists are kept as they are: fetching their first page anew would lose the place.
  const recent = Date.now() - fetchedAt < 30_000 || before.rows.length > PAGE;
  if (how === "cached" && before.key === key && before.state === "idle" && recent) return;
  running?.abort();
  const current = new AbortController();
  running = current;
  // The old rows stay, dimmed, until the new ones are here: nothing jumps.
  listing.value = { ...before, key, state: "loading", problem: null, next: null };
  try {
    const page = await api.recordings(filters, PAGE, current.signal);
    if (current.signal.aborted) return;
    fetchedAt = Date.now();
    listing.value = { key, rows: page.entities, next: page.nextUri, state: "idle", problem: null };
  } catch (error) {
    if (current.signal.aborted) return;
    listing.value = { key, rows: [], next: null, state: "failed", problem: problemFromError(error) };
  }
}

export async function more(): Promise<void> {
  const before = listing.value;
  if (before.state === "loading" || before.state === "more" || !before.next) return;
  const current = new AbortController();
  running = current;
  listing.value = { ...before, state: "more", problem: null };
  try {
    const page = await api.nextPage(before.next, current.signal);
    if (current.signal.aborted) return;
    const known = new Set(before.rows.map((row) => row.id + row.tenant));
    const rows = page.entities.filter((row) => !known.has(row.id + row.tenant));
    listing.value = { ...before, rows: [...before.rows, ...rows], next: page.nextUri, state: "idle", problem: null };
  } catch (error) {
    if (current.signal.aborted) return;
    listing.value = { ...before, state: "failed", problem: problemFromError(error) };
  }
}

export function forget(): void {
  running?.abort();
  listing.value = { key: "", rows: [], next: null, state: "idle", problem: null };
  scrolled.top = 0;
}
