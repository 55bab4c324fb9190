/* When keys rotate by themselves. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as api from "../api/keys";
import { type Problem, problemFromError } from "../api/problem";
import type { Period } from "../api/types";
import { Alert } from "../ui/icons";
import { say } from "../ui/notice";
import { ProblemLine, Time } from "../ui/parts";
import type { KeysModel } from "./keys-model";
import { Part } from "./part";
import { PERIODS, periodName } from "./words";

export function ScheduleCard({ model }: { model: KeysModel }) {
  const keys = model.keys.value.value;
  if (keys && !keys.mintsKeks) {
    return (
      <section class="card admin-card" aria-labelledby="schedule-heading" data-testid="part-schedule">
        <h2 id="schedule-heading">Rotation</h2>
        <p class="muted">
          Your key service makes the key pairs, so it decides when. Make a new pair there and register it here: that is the rotation.
        </p>
      </section>
    );
  }
  const part = model.keys.value.problem && !keys ? { value: null, problem: model.keys.value.problem } : model.schedule.value;
  return (
    <Part title="Rotation" id="schedule" of={part} again={() => (keys ? model.loadSchedule() : model.loadKeys())} rows={4}>
      <Schedule model={model} />
    </Part>
  );
}

function Schedule({ model }: { model: KeysModel }) {
  const schedule = model.schedule.value.value!;
  const period = useSignal(schedule.period);
  const busy = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  useEffect(() => { period.value = schedule.period; }, [schedule.period]);

  async function save(event: SubmitEvent) {
    event.preventDefault();
    busy.value = true;
    problem.value = null;
    try {
      const saved = await api.setSchedule(model.tenant, period.value as Period);
      model.schedule.value = { value: saved, problem: null };
      say(saved.period === "DISABLED" ? "Keys no longer rotate by themselves" : `Keys rotate by themselves: ${periodName(saved.period).toLowerCase()}`);
    } catch (error) {
      problem.value = problemFromError(error);
    }
    busy.value = false;
  }

  return (
    <>
      <form class="inline-form" onSubmit={save}>
        <label class="field">
          <span>A new key is made</span>
          <select class="select" value={period.value} data-testid="period" onChange={(event) => { period.value = event.currentTarget.value; }}>
            {PERIODS.map((each) => <option key={each} value={each}>{periodName(each)}</option>)}
          </select>
        </label>
        <button type="submit" class="button" disabled={busy.value || period.value === schedule.period} data-testid="save-schedule">
          {busy.value ? "Saving…" : "Save"}
        </button>
      </form>
      {problem.value && <ProblemLine problem={problem.value} />}
      <dl class="facts">
        <div><dt>Next</dt><dd data-testid="next-rotation">{schedule.nextRotation ? <Time at={schedule.nextRotation} /> : "not planned"}</dd></div>
        <div><dt>Last</dt><dd data-testid="last-rotation">{schedule.lastRotation ? <Time at={schedule.lastRotation} /> : "never; the first key is in use"}</dd></div>
      </dl>
      {schedule.lastError && (
        <p class="form-problem" data-testid="schedule-error"><Alert size={20} /><span><strong>The last try failed.</strong> {schedule.lastError} It is tried again by itself; the present key goes on meanwhile.</span></p>
      )}
    </>
  );
}
