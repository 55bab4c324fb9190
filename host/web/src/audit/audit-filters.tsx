/* The audit log's filters. What is chosen is in the address, so that a finding can be sent as a link;
   instants stand there as such and are shown in the reader's zone. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { type AuditFilters, NO_AUDIT_FILTERS } from "../api/audit";
import { Close, Filter } from "../ui/icons";
import { ACTIONS, actionName, instantOf, localMinute, OUTCOMES } from "./words";

export function AuditFilterBar({ filters, set }: { filters: AuditFilters; set: (change: Partial<AuditFilters>) => void }) {
  const unfolded = useSignal(false);
  const { tenant: _chosenAbove, ...rest } = filters;
  const active = Object.values(rest).filter(Boolean).length;
  const known = ACTIONS.some(({ actions }) => actions.some(([action]) => action === filters.action));
  return (
    <search class="filters audit-filters" data-unfolded={unfolded.value}>
      <button
        type="button" class="button filters-button" aria-expanded={unfolded.value} aria-controls="audit-fields"
        onClick={() => { unfolded.value = !unfolded.value; }}
      >
        <Filter /> Filters{active > 0 && <span class="count">{active}</span>}
      </button>
      <div class="filter-fields" id="audit-fields">
        <select
          class="select" aria-label="Action" value={filters.action} data-set={filters.action !== ""} data-testid="filter-action"
          onChange={(event) => set({ action: event.currentTarget.value })}
        >
          <option value="">Any action</option>
          {filters.action && !known && <option value={filters.action}>{filters.action}</option>}
          {ACTIONS.map(({ group, actions }) => (
            <optgroup label={group} key={group}>
              {actions.map(([action]) => <option key={action} value={action}>{actionName(action)}</option>)}
            </optgroup>
          ))}
        </select>
        <Text name="outcome" label="Outcome" value={filters.outcome} set={(outcome) => set({ outcome })} list="audit-outcomes" />
        <datalist id="audit-outcomes">{OUTCOMES.map((outcome) => <option key={outcome} value={outcome} />)}</datalist>
        <Text name="subject" label="Subject" value={filters.subject} set={(subject) => set({ subject })} />
        <Text name="recording" label="Recording" value={filters.recording} set={(recording) => set({ recording })} />
        <Moment name="from" label="From" value={filters.from} set={(from) => set({ from })} />
        <Moment name="to" label="Before" value={filters.to} set={(to) => set({ to })} />
        {active > 0 && (
          <button type="button" class="button ghost" data-testid="filter-clear" onClick={() => set({ ...NO_AUDIT_FILTERS, tenant: filters.tenant })}>
            <Close size={16} /> Clear
          </button>
        )}
      </div>
    </search>
  );
}

/* Takes effect a moment after the last key, so that ids can be typed and pasted. */
function Text(props: { name: string; label: string; value: string; set: (value: string) => void; list?: string }) {
  const box = useRef<HTMLInputElement>(null);
  const timer = useRef(0);
  const latest = useRef(props.set);
  latest.current = props.set;
  useEffect(() => () => clearTimeout(timer.current), []);
  useEffect(() => {
    if (box.current && document.activeElement !== box.current) box.current.value = props.value;
  }, [props.value]);
  const now = () => {
    clearTimeout(timer.current);
    latest.current((box.current?.value ?? "").trim());
  };
  return (
    <input
      class="input" type="text" ref={box} defaultValue={props.value} aria-label={props.label} placeholder={props.label} list={props.list}
      autocomplete="off" autocapitalize="none" spellcheck={false} data-testid={`filter-${props.name}`}
      onInput={() => { clearTimeout(timer.current); timer.current = window.setTimeout(now, 300); }}
      onKeyDown={(event) => { if (event.key === "Enter") now(); }}
    />
  );
}

function Moment(props: { name: string; label: string; value: string; set: (value: string) => void }) {
  return (
    <label class="moment">
      <span class="muted">{props.label}</span>
      <input
        class="input" type="datetime-local" value={localMinute(props.value)} data-testid={`filter-${props.name}`}
        onChange={(event) => props.set(instantOf(event.currentTarget.value))}
      />
    </label>
  );
}
