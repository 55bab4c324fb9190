/* Moving older recordings' keys under the current one: begun, watched, stopped, gone on with. */
import { useSignal } from "@preact/signals";
import { type Problem, problemFromError } from "../api/problem";
import type { RewrapStatus } from "../api/types";
import { counted } from "../format";
import { follow, recordingAddress } from "../router";
import { Alert } from "../ui/icons";
import { ProblemLine, Time } from "../ui/parts";
import { ActionDialog } from "./action-dialog";
import type { KeysModel } from "./keys-model";
import { Part } from "./part";
import { olderRecordings, recoveryWaits, rewrapWords, timeLeft } from "./words";

export function RewrapCard({ model }: { model: KeysModel }) {
  return (
    <Part title="Re-wrap older recordings" id="rewrap" of={model.rewrap.value} again={() => model.loadRewrap()} rows={3}>
      {model.rewrap.value.value && <Rewrap model={model} status={model.rewrap.value.value} />}
    </Part>
  );
}

function Rewrap({ model, status }: { model: KeysModel; status: RewrapStatus }) {
  const asking = useSignal(false);
  const busy = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  const keys = model.keys.value.value;
  const older = keys ? olderRecordings(keys) : 0;
  const recovery = model.recovery.value.value;
  const waits = recovery ? recoveryWaits(recovery) : 0;
  const running = status.state === "running";
  const unfinished = status.state === "stopped" || status.state === "failed";
  const handled = status.done + status.failed;
  const looks = model.looks.value;

  async function stop() {
    busy.value = true;
    problem.value = null;
    try {
      await model.stopRewrap();
    } catch (error) {
      problem.value = problemFromError(error);
    }
    busy.value = false;
  }

  return (
    <>
      <p class="muted">
        {older === 0
          ? "All recordings are under the current key."
          : `${counted(older, "recording")} ${older === 1 ? "needs" : "need"} an earlier key. Re-wrapping moves them under the current one; the sealed recordings themselves stay untouched.`}
        {waits > 0 && ` ${counted(waits, "recording")} ${waits === 1 ? "waits" : "wait"} for the change of the recovery key; re-wrapping makes that too.`}
      </p>
      {status.state !== "idle" && (
        <div class="progress" data-testid="rewrap" data-state={status.state}>
          <div class="progress-words">
            <span data-testid="rewrap-words">{rewrapWords(status)}</span>
            {running && <span class="muted">{looks ? timeLeft(looks.first, looks.last, status.total) : ""}</span>}
            {!running && status.endedAt && <span class="muted"><Time at={status.endedAt} /></span>}
          </div>
          <progress max={Math.max(1, status.total)} value={status.total === 0 ? 1 : Math.min(handled, status.total)} aria-label="Re-wrapped recordings" />
          {status.lastError && <p class="form-problem" data-testid="rewrap-error"><Alert size={20} /><span>{status.lastError}</span></p>}
          {status.failed > 0 && <Failures of={status} tenant={model.tenant} />}
        </div>
      )}
      {problem.value && <ProblemLine problem={problem.value} />}
      <div class="card-foot">
        {running && <button type="button" class="button" disabled={busy.value} onClick={() => void stop()} data-testid="stop-rewrap">Stop</button>}
        {!running && (older > 0 || waits > 0 || unfinished) && (
          <button type="button" class="button" onClick={() => { asking.value = true; }} data-testid="start-rewrap">
            {unfinished ? "Go on…" : "Re-wrap…"}
          </button>
        )}
      </div>
      {asking.value && <StartDialog model={model} status={status} older={older} onClose={() => { asking.value = false; }} />}
    </>
  );
}

function Failures({ of: { failed, failures }, tenant }: { of: RewrapStatus; tenant: string }) {
  return (
    <details class="failures" data-testid="rewrap-failures">
      <summary>{counted(failed, "recording")} could not be re-wrapped</summary>
      <p class="muted">They are as they were, under their earlier keys, and are tried again next time.</p>
      <ul>
        {failures.map(({ recording, reason }) => (
          <li key={recording}>
            <a class="mono" href={recordingAddress({ id: recording, tenant })} onClick={follow}>{recording}</a> <span>{reason}</span>
          </li>
        ))}
      </ul>
      {failures.length < failed && <p class="muted">These are the first {failures.length}; the server's log has all.</p>}
    </details>
  );
}

function StartDialog({ model, status, older, onClose }: { model: KeysModel; status: RewrapStatus; older: number; onClose: () => void }) {
  const speed = useSignal(status.perSecond ? String(status.perSecond) : "");
  const number = Number(speed.value);
  return (
    <ActionDialog
      title="Re-wrap older recordings" action="Re-wrap" manner="plain" onClose={onClose}
      check={() => (speed.value.trim() === "" || (Number.isInteger(number) && number >= 1) ? undefined : "Recordings a second: a whole number, 1 or more, or nothing.")}
      run={() => model.startRewrap(speed.value.trim() === "" ? null : number)}
      weight={{
        happens: `${older > 0 ? `${counted(older, "recording")}' keys are` : "Recordings' keys are"} opened with the keys that wrap them and wrapped with the current one, one after the other. Every one is written to the audit log.`,
        playback: "Goes on meanwhile. Recordings of a disabled key cannot be re-wrapped: enable it first.",
        undo: "It can be stopped and gone on with at any time. What is re-wrapped stays so, and is then safe from the loss of its earlier key.",
      }}
    >
      <label class="field">
        <span>Recordings a second, at most <span class="optional">optional</span></span>
        <input class="input" inputMode="numeric" value={speed.value} placeholder="As the server has it" data-testid="per-second"
          onInput={(event) => { speed.value = event.currentTarget.value; }} />
      </label>
      <p class="help-line">Every recording asks your key service once. A lower number spares it.</p>
    </ActionDialog>
  );
}
