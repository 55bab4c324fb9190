/* The audit log: filtered by what is in the address, opened row by row, exported as it is filtered.
   Not for: checking its chain, which `keyreel audit verify` does. */
import "../styles/admin.css";
import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { AdminHead, NotForYou } from "../admin/admin-head";
import { auditQuery, exportUri, type AuditFilters, NO_AUDIT_FILTERS } from "../api/audit";
import type { AuditEntry } from "../api/types";
import { go, place } from "../router";
import { tenantsWith } from "../state/roles";
import { signInAgain } from "../state/session";
import { Out } from "../ui/icons";
import { announce, ProblemCard, Spinner } from "../ui/parts";
import { AuditFilterBar } from "./audit-filters";
import { AuditModel, filtersFrom } from "./audit-model";
import { AuditRow } from "./audit-row";

export function AuditPage() {
  const tenants = tenantsWith("supervisor");
  const filters = filtersFrom(place.value.query);
  useEffect(() => { document.title = "Audit – Keyreel"; }, []);
  if (tenants.length === 0 || (filters.tenant && !tenants.some((tenant) => tenant.id === filters.tenant))) {
    return <NotForYou role="supervisors" whose={filters.tenant || null} title="Audit" />;
  }
  const set = (change: Partial<AuditFilters>) => go(addressOf({ ...filtersFrom(place.value.query), ...change }), "replace");
  return (
    <main class="page admin" id="content">
      <AdminHead title="Audit" tenants={tenants} tenant={filters.tenant} all="All organisations" onTenant={(tenant) => set({ tenant })}>
        <a class="button" href={exportUri(filters)} download="audit.jsonl" data-testid="export"><Out size={16} /> Export as JSON lines</a>
      </AdminHead>
      <AuditFilterBar filters={filters} set={set} />
      <Log filters={filters} severalTenants={tenants.length > 1} set={set} />
    </main>
  );
}

function Log({ filters, severalTenants, set }: { filters: AuditFilters; severalTenants: boolean; set: (change: Partial<AuditFilters>) => void }) {
  const model = useMemo(() => new AuditModel(), []);
  const opened = useSignal<ReadonlySet<string>>(new Set());
  const key = auditQuery(filters).toString();
  useEffect(() => () => model.destroy(), [model]);
  useEffect(() => {
    void model.show(filters).then(() => {
      const { rows, next, state } = model.entries.value;
      if (state === "idle") announce(`${rows.length}${next ? " or more" : ""} events`);
    });
  }, [key]);
  const { rows, next, state, problem } = model.entries.value;
  useEffect(() => {
    if (problem?.code === "unauthenticated") signInAgain();
  }, [problem]);

  function toggle(entry: AuditEntry) {
    const after = new Set(opened.value);
    if (!after.delete(entry.id)) after.add(entry.id);
    opened.value = after;
  }

  return (
    <>
      <p class="muted audit-count" data-testid="count">
        {state === "loading" ? "…" : rows.length > 0 ? (next ? `${rows.length} shown, more below; newest first` : `${rows.length} in all; newest first`) : ""}
      </p>
      {rows.length === 0 && state === "loading" && <Waiting />}
      {rows.length > 0 && (
        <table class="audit-table" role="table" aria-label="Audit log" aria-busy={state === "loading"} data-tenants={severalTenants ? "several" : "one"}>
          <thead role="rowgroup">
            <tr role="row">
              <th role="columnheader" scope="col">When</th>
              <th role="columnheader" scope="col">What</th>
              <th role="columnheader" scope="col">Who</th>
              <th role="columnheader" scope="col">Recording</th>
              {severalTenants && <th role="columnheader" scope="col">Organisation</th>}
              <th role="columnheader" scope="col">Outcome</th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {rows.map((entry) => (
              <AuditRow key={entry.id} entry={entry} severalTenants={severalTenants} open={opened.value.has(entry.id)} onToggle={() => toggle(entry)} set={set} />
            ))}
          </tbody>
        </table>
      )}
      {rows.length === 0 && state === "idle" && (
        <div class="empty" data-testid="empty">
          <h2>Nothing fits</h2>
          <p class="muted">No event that you may see fits these filters.</p>
          {key !== "" && <button type="button" class="button" onClick={() => set(NO_AUDIT_FILTERS)}>Clear all filters</button>}
        </div>
      )}
      {state === "failed" && problem && (
        <ProblemCard problem={problem}>
          <button type="button" class="button primary" onClick={() => void (rows.length > 0 ? model.more() : model.show(filters))}>Try again</button>
        </ProblemCard>
      )}
      <div class="library-end">
        {state === "more" && <Spinner label="Loading more events" />}
        {state === "idle" && next && <button type="button" class="button" onClick={() => void model.more()} data-testid="more">Show more</button>}
      </div>
    </>
  );
}

function Waiting() {
  return (
    <div class="skeleton" role="status">
      <span class="visually-hidden">Loading the audit log</span>
      {Array.from({ length: 12 }, (_, index) => <div class="skeleton-line" key={index} aria-hidden="true"><i /><i /><i /><i /></div>)}
    </div>
  );
}

function addressOf(filters: AuditFilters): string {
  const query = auditQuery(filters).toString();
  return `/admin/audit${query ? `?${query}` : ""}`;
}
