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
import { ActionDialog, type Weight } from "./action-dialog";
import type { KeysModel } from "./keys-model";
import type { Ask } from "./keys-page";
import { Part } from "./part";
import { destructionState, destroyed, scopeIds, scopeName } from "./words";

export function DestructionCard({ model, name, ask }: { model: KeysModel; name: string; ask: Ask }) {
  const all = model.destructions.value.value;
  const gone = all !== null && destroyed(all);
  const ended = all?.some((each) => each.scope.kind === "tenant" && each.state === "done") ?? false;
  const open = all?.some((each) => each.state !== "done" && each.state !== "cancelled") ?? false;
  return (
    <Part title="Destroy for good" id="destroy" of={model.destructions.value} again={() => model.loadDestructions()} rows={3}>
      {all && (
        <>
          {gone
            ? <p class="form-problem" data-testid="destroyed"><Alert size={20} /><span>Everything of {name} {ended ? "was" : "is being"} destroyed. Keyreel opens nothing of it any more and takes nothing new in.</span></p>
            : <p class="muted">
                Destroys the keys that Keyreel keeps, in backups too: it can never open again what they protect. Whoever holds a recovery key,
                or a private key that Keyreel does not keep, still opens copies: the signed certificate at the end names these keys.
              </p>}
          {all.length > 0 && (
            <ul class="destructions">
              {all.map((each) => <Row key={each.id} of={each} model={model} ask={ask} />)}
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

function Row({ of: each, model, ask }: { of: Destruction; model: KeysModel; ask: Ask }) {
  const busy = useSignal(false);
  const problem = useSignal<Problem | null>(null);
  const mine = each.requestedBy === session.value?.subject;

  async function decide(step: "cancel" | "resume") {
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

  const ids = scopeIds(each.scope);
  return (
    <li class="destruction" data-testid="destruction" data-state={each.state}>
      <div class="split">
        <span>
          <strong>{scopeName(each.scope)}</strong>
          <span class="muted"> {each.reason}</span>
        </span>
        <span class="tag state" data-state={each.state}>{destructionState(each.state)}</span>
      </div>
      {ids && <p class="mono" data-testid="destruction-ids">{ids}</p>}
      <p class="muted">
        Asked for by <strong data-testid="requested-by">{each.requestedBy}</strong>, <Time at={each.requestedAt} />
        {each.endedAt && <>; ended <Time at={each.endedAt} /></>}
        {each.recordings !== null && <> · {counted(each.recordings, "recording")}</>}
      </p>
      {each.lastError && <p class="form-problem"><Alert size={20} /><span>{each.lastError}</span></p>}
      {each.state === "requested" && mine && <p class="muted">Another administrator has to confirm it.</p>}
      {each.state === "halted" && (
        <p class="muted">If it is called off, what is gone by now stays gone, but backups of it may still open.</p>
      )}
      {problem.value && <ProblemLine problem={problem.value} />}
      <div class="card-foot">
        {each.state === "requested" && !mine && (
          <button type="button" class="button danger" disabled={busy.value} onClick={() => ask({ kind: "confirm", of: each })} data-testid="confirm-destruction">Confirm: destroy for good…</button>
        )}
        {each.state === "halted" && (
          <button type="button" class="button" disabled={busy.value} onClick={() => void decide("resume")} data-testid="resume-destruction">Go on</button>
        )}
        {(each.state === "requested" || each.state === "halted") && (
          <button type="button" class="button" disabled={busy.value} onClick={() => void decide("cancel")} data-testid="cancel-destruction">Call off</button>
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
          {OTHERS_FIRST}
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
  const { asked, problem } = usePreview(model, scope);
  const reason = useSignal("");
  if (!asked) return <Counting problem={problem} onClose={onClose} />;
  async function run(confirm: string) {
    const made = await api.request(model.tenant, scope, confirm, reason.value.trim());
    await model.loadDestructions();
    say(made.state === "requested" ? "It waits for another administrator" : "It is being destroyed");
  }
  return (
    <ActionDialog
      title="Destroy for good" action={asked.needsTwoPeople ? "Ask for destruction" : "Destroy for good"} manner="dangerous"
      phrase={asked.confirm} run={() => run(asked.confirm)} onClose={onClose}
      check={() => (reason.value.trim() === "" ? "Say why: it is in the certificate." : undefined)}
      weight={weightOf(scope, name, asked.needsTwoPeople && "Another administrator has to confirm it first.")}
    >
      <label class="field">
        <span>Why</span>
        <input class="input" value={reason.value} maxLength={1000} data-testid="reason" onInput={(event) => { reason.value = event.currentTarget.value; }} />
      </label>
      <p class="help-line">It is written into the certificate and the audit log: no personal data.</p>
    </ActionDialog>
  );
}

/* The second person sees as much as the first did, and types as much. */
export function ConfirmDialog({ model, name, of, onClose }: { model: KeysModel; name: string; of: Destruction; onClose: () => void }) {
  const { asked, problem } = usePreview(model, of.scope);
  if (!asked) return <Counting problem={problem} onClose={onClose} />;
  async function run() {
    try {
      await api.decide(model.tenant, of.id, "confirm");
    } finally {
      // A refusal may come from what somebody else did meanwhile: show what is so now.
      await model.loadDestructions();
    }
    say("It is being destroyed");
  }
  const ids = scopeIds(of.scope);
  return (
    <ActionDialog
      title="Confirm: destroy for good" action="Confirm and destroy" manner="dangerous" phrase={asked.confirm} run={run} onClose={onClose}
      weight={weightOf(of.scope, name, "It begins at once.")}
    >
      <dl class="facts">
        <div><dt>What</dt><dd>{scopeName(of.scope)}{ids && <>: <span class="mono">{ids}</span></>}</dd></div>
        <div><dt>Asked for by</dt><dd>{of.requestedBy}, <Time at={of.requestedAt} /></dd></div>
        <div><dt>Why</dt><dd>{of.reason}</dd></div>
      </dl>
    </ActionDialog>
  );
}

function usePreview(model: KeysModel, scope: DestructionScope): { asked: DestructionPreview | null; problem: Problem | null } {
  const preview = useSignal<DestructionPreview | null>(null);
  const problem = useSignal<Problem | null>(null);
  useEffect(() => {
    api.preview(model.tenant, scope).then(
      (value) => { preview.value = value; },
      (error: unknown) => { problem.value = problemFromError(error); },
    );
  }, [model, scope]);
  return { asked: preview.value, problem: problem.value };
}

function Counting({ problem, onClose }: { problem: Problem | null; onClose: () => void }) {
  return (
    <Dialog title="Destroy for good" onClose={onClose} beside="stays" class="narrow" testId="action-dialog">
      {problem ? <ProblemLine problem={problem} /> : <p class="muted" role="status">Counting what would be lost</p>}
    </Dialog>
  );
}

function weightOf(scope: DestructionScope, name: string, then: string | false): Weight {
  return {
    happens: (
      <>
        {whatGoes(scope, name)} Keyreel can never open again what is destroyed, not from backups either, and copies of the keystore from
        before become worthless. Whoever holds a recovery key, or a private key that Keyreel does not keep, still opens copies: the
        certificate names these keys. {then}
      </>
    ),
    playback: <strong>Keyreel never plays again what is destroyed.</strong>,
    undo: <strong>No.</strong>,
  };
}

function whatGoes(scope: DestructionScope, name: string) {
  switch (scope.kind) {
    case "tenant": return <>Every key and every recording of <strong>{name}</strong> is destroyed.</>;
    case "key": return <>The key <strong class="mono">{scope.id}</strong> is destroyed, and every recording that needs it.</>;
    case "recordings": return <><strong>{counted(scope.ids.length, "recording")}</strong> {scope.ids.length === 1 ? "is" : "are"} destroyed. {OTHERS_FIRST}</>;
  }
}

const OTHERS_FIRST =
  "All other recordings are moved to the current key first, or to a new one, if one of these is under the current key: each that is not " +
  "under it yet costs one decrypt at the key service. Then every key but the current one is destroyed, disabled ones too.";
