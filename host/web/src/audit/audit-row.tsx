/* One event: a line, and below it, when opened, everything that was written down. */
import type { AuditFilters } from "../api/audit";
import type { AuditEntry } from "../api/types";
import { utc } from "../format";
import { follow, recordingAddress } from "../router";
import { tenantName } from "../state/session";
import { Down } from "../ui/icons";
import { Time } from "../ui/parts";
import { actionName, fieldName, fieldText, outcomeKind } from "./words";

export function AuditRow(props: {
  entry: AuditEntry; severalTenants: boolean; open: boolean; onToggle: () => void; set: (change: Partial<AuditFilters>) => void;
}) {
  const { entry, open, severalTenants } = props;
  const id = `event-${entry.id}`;
  return (
    <>
      <tr role="row" class="audit-row" data-testid="event" data-action={entry.action} data-outcome={entry.outcome} data-open={open}>
        <td role="cell" class="audit-when"><Time at={entry.at} /></td>
        <td role="cell">
          <button type="button" class="audit-open" aria-expanded={open} aria-controls={open ? id : undefined} onClick={props.onToggle}>
            <Down size={15} /><span>{actionName(entry.action)}</span>
          </button>
        </td>
        <td role="cell" class="mono audit-clip" title={entry.subject || undefined} data-empty={!entry.subject}>{entry.subject || "–"}</td>
        <td role="cell" class="mono audit-clip" title={entry.recording ?? undefined} data-empty={!entry.recording}>{entry.recording ?? "–"}</td>
        {severalTenants && <td role="cell" class="audit-clip" data-empty={!entry.tenant}>{entry.tenant ? tenantName(entry.tenant) : "–"}</td>}
        <td role="cell"><span class="tag outcome" data-kind={outcomeKind(entry.outcome)}>{entry.outcome}</span></td>
      </tr>
      {open && (
        <tr role="row" class="audit-details" data-testid="event-details">
          <td role="cell" colSpan={severalTenants ? 6 : 5} id={id}><Details {...props} /></td>
        </tr>
      )}
    </>
  );
}

function Details({ entry, set }: { entry: AuditEntry; set: (change: Partial<AuditFilters>) => void }) {
  // A trial of a key has an id, and no recording that could be opened.
  return (
    <div class="audit-opened">
      <dl class="facts">
        <div><dt>Action</dt><dd class="mono">{entry.action}</dd></div>
        <div><dt>Moment</dt><dd>{utc(entry.at)}</dd></div>
        {entry.subject && <div><dt>Who</dt><dd class="mono">{entry.subject}</dd></div>}
        {entry.tenant && <div><dt>Organisation</dt><dd>{tenantName(entry.tenant)}</dd></div>}
        {entry.recording && (
          <div><dt>Recording</dt><dd class="mono">
            {entry.tenant && entry.fields.purpose !== "trial" ? <a href={recordingAddress({ id: entry.recording, tenant: entry.tenant })} onClick={follow}>{entry.recording}</a> : entry.recording}
          </dd></div>
        )}
        <div><dt>Outcome</dt><dd class="mono">{entry.outcome}</dd></div>
      </dl>
      <dl class="facts">
        {Object.entries(entry.fields).map(([name, value]) => (
          <div key={name}><dt>{fieldName(name)}</dt><dd class="mono field-text">{fieldText(value)}</dd></div>
        ))}
        <div><dt>Place in the log</dt><dd class="mono">{entry.seq}</dd></div>
        <div><dt>Chain's hash</dt><dd class="mono field-text" data-testid="hash">{entry.hash ?? "taken out: check the log with “keyreel audit verify”"}</dd></div>
      </dl>
      <div class="card-foot">
        <button type="button" class="button small" onClick={() => set({ action: entry.action })}>Only this action</button>
        {entry.subject && <button type="button" class="button small" onClick={() => set({ subject: entry.subject })}>Only this subject</button>}
        {entry.recording && <button type="button" class="button small" onClick={() => set({ recording: entry.recording ?? "" })}>Only this recording</button>}
      </div>
    </div>
  );
}
