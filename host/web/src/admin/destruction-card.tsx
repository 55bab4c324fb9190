/* Crypto-shredding: what was destroyed or is to be, with its certificates, and how more is asked for.
   Not for: fetching (keys-model.ts), words about keys (words.ts). */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as api from "../api/destructions";
import { type Problem, problemFromError } from "../api/problem";
import type { Destruction, DestructionPreview, DestructionScope } from "../api/types";
import { counted } from "../format";
import { session } from "../state/session";
import { Alert } from "../ui/icons";
import { say } from "../ui/notice";
import { Dialog, ProblemLine, Time } from "../ui/parts";
import { ActionDialog } from "./action-dialog";
import type { KeysModel } from "./keys-model";
import type { Ask } from "./keys-page";
import { Part } from "./part";
import { destructionState, destroyed, scopeName } from "./words";

export function DestructionCard({ model, name, ask }: { model: KeysModel; name: string; ask: Ask }) {
  const all = model.destructions.value.value;
  const gone = all !== null && destroyed(all);
  const open = all?.some((each) => each.state !== "done" && each.state !== "cancelled") ?? false;
  return (
    <Part title="Destroy for good" id="destroy" of={model.destructions.value} again={() => model.loadDestructions()} rows={3}>
      {all && (
        <>
          {gone
            ? <p class="form-problem" data-testid="destroyed"><Alert size={20} /><span>Everything of {name} was destroyed. Nothing of it opens any more, and nothing new is taken in.</span></p>
            : <p class="muted">
                Destroys keys in every copy there is of them, backups included: what they protect opens nowhere any more. It ends with a signed
                certificate, which also names what is left to others.
              </p>}
          {all.length > 0 && (
            <ul class="destructions">
              {all.map((each) => <Row key={each.id} of={each} model={model} />)}
            </ul>
          )}
          {!gone && (
            <div class="card-foot">
              <button type="button" class="button" disabled={open} data-testid="destroy-recordings"
                onClick={() => ask({ kind: "recordings" })}>Destroy recordings…</button>
              <button type="button" class="button danger" disabled={open} data-testid="destroy-tenant"
                onClick={() => ask({ kind: "destroy", scope: { kind: "tenant" } })}>Destroy everything…</button>
            </div>
          )}
        </>
      )}
    </Part>
  );
}

function Row({ of: each, model }: { of: Destruction; model: KeysModel }) {
  const busy = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  const mine = each.requestedBy === session.value?.subject;

  async function decide(step: "confirm" | "cancel" | "resume") {
    busy.value = true;
    problem.value = null;
    try {
      await api.decide(model.tenant, each.id, step);
    } catch (error) {
      problem.value = problemFromError(error);
    }
    await model.loadDestructions();
    busy.value = false;
  }

  return (
    <li class="destruction" data-testid="destruction" data-state={each.state}>
      <div class="split">
        <span>
          <strong>{scopeName(each.scope)}</strong>
          <span class="muted"> {each.reason}</span>
        </span>
        <span class="tag state" data-state={each.state}>{destructionState(each.state)}</span>
      </div>
      <p class="muted">
        <Time at={each.endedAt ?? each.requestedAt} />
        {each.recordings !== null && <> · {counted(each.recordings, "recording")}</>}
      </p>
      {each.lastError && <p class="form-problem"><Alert size={20} /><span>{each.lastError}</span></p>}
      {each.state === "requested" && mine && <p class="muted">Another administrator has to confirm it.</p>}
      {problem.value && <ProblemLine problem={problem.value} />}
      <div class="card-foot">
        {each.state === "requested" && !mine && (
          <button type="button" class="button danger" disabled={busy.value} onClick={() => void decide("confirm")} data-testid="confirm-destruction">Confirm: destroy for good</button>
        )}
        {each.state === "requested" && (
          <button type="button" class="button" disabled={busy.value} onClick={() => void decide("cancel")} data-testid="cancel-destruction">Call off</button>
        )}
        {each.state === "halted" && (
          <button type="button" class="button" disabled={busy.value} onClick={() => void decide("resume")} data-testid="resume-destruction">Go on</button>
        )}
        {each.certified && <a class="button small" href={api.certificate(model.tenant, each.id)} download data-testid="certificate">Certificate</a>}
      </div>
    </li>
  );
}

/* Which recordings: ids as the player's page and the audit log show them. */
export function RecordingsDialog({ onNext, onClose }: { onNext: (scope: DestructionScope) => void; onClose: () => void }) {
  const text = useSignal("");
  const ids = text.value.split(/[\s,]+/).filter((id) => id !== "");
  return (
    <Dialog title="Destroy recordings" onClose={onClose} beside="stays" class="narrow" testId="recordings-dialog">
      <form class="action" onSubmit={(event) => {
        event.preventDefault();
        if (ids.length === 0) return;
        onNext({ kind: "recordings", ids: [...new Set(ids)] });
        event.currentTarget.closest("dialog")?.close();
      }}>
        <label class="field">
          <span>Ids of the recordings, one a line</span>
          <textarea class="input mono" rows={5} value={text.value} autofocus spellcheck={false} data-testid="recording-ids"
            onInput={(event) => { text.value = event.currentTarget.value; }} />
        </label>
        <p class="help-line">
          All other recordings are moved to the current key first; then every key that these were ever under is destroyed.
        </p>
        <div class="dialog-end">
          <div class="dialog-foot">
            <button type="button" class="button" onClick={(event) => event.currentTarget.closest("dialog")?.close()}>Cancel</button>
            <button type="submit" class="button danger" disabled={ids.length === 0} data-testid="next">Next…</button>
          </div>
        </div>
      </form>
    </Dialog>
  );
}

/* What it would take, asked of the server first: it names the loss. */
export function DestroyDialog({ model, name, scope, onClose }: { model: KeysModel; name: string; scope: DestructionScope; onClose: () => void }) {
  const preview = useSignal<DestructionPreview | null>(null);
  const problem = useSignal<Problem | null>(null);
  const reason = useSignal("");
  useEffect(() => {
    api.preview(model.tenant, scope).then(
      (value) => { preview.value = value; },
      (error: unknown) => { problem.value = problemFromError(error); },
    );
  }, [model, scope]);
  const asked = preview.value;
  if (!asked) {
    return (
      <Dialog title="Destroy for good" onClose={onClose} beside="stays" class="narrow" testId="action-dialog">
        {problem.value ? <ProblemLine problem={problem.value} /> : <p class="muted" role="status">Counting what would be lost</p>}
      </Dialog>
    );
  }
  async function run() {
    const made = await api.request(model.tenant, scope, asked?.confirm ?? "", reason.value.trim());
    await model.loadDestructions();
    say(made.state === "requested" ? "It waits for another administrator" : "It is being destroyed");
  }
  const what = scope.kind === "tenant"
    ? <>Every key and every recording of <strong>{name}</strong> is destroyed.</>
    : scope.kind === "key"
      ? <>The key <strong class="mono">{scope.id}</strong> is destroyed, and every recording that needs it.</>
      : <><strong>{counted(scope.ids.length, "recording")}</strong> {scope.ids.length === 1 ? "is" : "are"} destroyed. All others are moved to the current key first, which may be a new one.</>;
  return (
    <ActionDialog
      title="Destroy for good" action={asked.needsTwoPeople ? "Ask for destruction" : "Destroy for good"} manner="dangerous"
      phrase={asked.confirm} run={run} onClose={onClose}
      check={() => (reason.value.trim() === "" ? "Say why: it is in the certificate." : undefined)}
      weight={{
        happens: <>{what} Backups of it open nothing either, and copies of the keystore from before become worthless.{asked.needsTwoPeople && " Another administrator has to confirm it first."}</>,
        playback: <strong>What is destroyed can never be played again, by nobody.</strong>,
        undo: <strong>No.</strong>,
      }}
    >
      <label class="field">
        <span>Why</span>
        <input class="input" value={reason.value} maxLength={1000} data-testid="reason" onInput={(event) => { reason.value = event.currentTarget.value; }} />
      </label>
      <p class="help-line">It is written into the certificate and the audit log: no personal data.</p>
    </ActionDialog>
  );
}
