/* The audit log, read and exported. Not for: what its actions mean (audit/words.ts). */
import { json } from "./client";
import type { AuditEntry, Page } from "./types";

export interface AuditFilters {
  tenant: string;
  action: string;
  recording: string;
  subject: string;
  outcome: string;
  /* Instants, RFC 3339; `to` is the first that is left out. */
  from: string;
  to: string;
}

export const NO_AUDIT_FILTERS: AuditFilters = {
  tenant: "", action: "", recording: "", subject: "", outcome: "", from: "", to: "",
};

export function audit(filters: AuditFilters, limit: number, signal?: AbortSignal): Promise<Page<AuditEntry>> {
  const query = auditQuery(filters);
  query.set("limit", String(limit));
  return json("GET", `/api/v1/audit?${query}`, undefined, signal);
}

/* Everything that fits the filters, one JSON object a line. */
export function exportUri(filters: AuditFilters): string {
  const query = auditQuery(filters).toString();
  return `/api/v1/audit/export${query ? `?${query}` : ""}`;
}

export function auditQuery(filters: AuditFilters): URLSearchParams {
  const query = new URLSearchParams();
  for (const name of Object.keys(NO_AUDIT_FILTERS) as (keyof AuditFilters)[]) {
    const value = filters[name].trim();
    if (value) query.set(name, value);
  }
  return query;
}
