/* The events that fit the filters, page by page. Not for: drawing them (audit-page.tsx). */
import { signal } from "@preact/signals";
import { audit, type AuditFilters, NO_AUDIT_FILTERS } from "../api/audit";
import { nextPage } from "../api/client";
import { type Problem, problemFromError } from "../api/problem";
import type { AuditEntry, Page } from "../api/types";

export interface Entries {
  rows: AuditEntry[];
  next: string | null;
  state: "loading" | "more" | "idle" | "failed";
  problem: Problem | null;
}

export const PAGE = 50;

export class AuditModel {
  readonly entries = signal<Entries>({ rows: [], next: null, state: "loading", problem: null });
  private running = new AbortController();

  /* The first page. What is shown stays, dimmed, until it is here. */
  show(filters: AuditFilters): Promise<void> {
    this.entries.value = { ...this.entries.value, next: null, state: "loading", problem: null };
    return this.fetch((signal) => audit(filters, PAGE, signal), () => []);
  }

  /* The page after what is shown. */
  async more(): Promise<void> {
    const { next, rows, state } = this.entries.value;
    if (!next || state === "loading" || state === "more") return;
    this.entries.value = { ...this.entries.value, state: "more", problem: null };
    await this.fetch((signal) => nextPage<AuditEntry>(next, signal), () => rows);
  }

  destroy(): void {
    this.running.abort();
  }

  private async fetch(page: (signal: AbortSignal) => Promise<Page<AuditEntry>>, before: () => AuditEntry[]): Promise<void> {
    this.running.abort();
    const { signal } = this.running = new AbortController();
    try {
      const { entities, nextUri } = await page(signal);
      if (signal.aborted) return;
      const known = new Set(before().map((row) => row.id));
      this.entries.value = {
        rows: [...before(), ...entities.filter((row) => !known.has(row.id))], next: nextUri, state: "idle", problem: null,
      };
    } catch (error) {
      if (signal.aborted) return;
      this.entries.value = { ...this.entries.value, rows: before(), state: "failed", problem: problemFromError(error) };
    }
  }
}

export function filtersFrom(query: URLSearchParams): AuditFilters {
  const filters = { ...NO_AUDIT_FILTERS };
  for (const name of Object.keys(filters) as (keyof AuditFilters)[]) filters[name] = query.get(name) ?? "";
  return filters;
}
