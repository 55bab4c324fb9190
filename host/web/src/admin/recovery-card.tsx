/* The recovery key: whether there is one, how many recordings it opens, setting and removing it. Its
   private half never comes to this page. */
import { useSignal } from "@preact/signals";
import * as api from "../api/keys";
import type { RecoveryStatus } from "../api/types";
import { algorithmName } from "../format";
import { say } from "../ui/notice";
import { Time } from "../ui/parts";
import { ActionDialog } from "./action-dialog";
import type { KeysModel } from "./keys-model";
import { Part } from "./part";
import { isPrivateKey, recoveryWords, strengthName } from "./words";

export function RecoveryCard({ model }: { model: KeysModel }) {
  return (
    <Part title="Recovery key" id="recovery" of={model.recovery.value} again={() => model.loadRecovery()} rows={4}>
      {model.recovery.value.value && <Recovery model={model} status={model.recovery.value.value} />}
    </Part>
  );
}

function Recovery({ model, status }: { model: KeysModel; status: RecoveryStatus }) {
  const asking = useSignal<"set" | "remove" | null>(null);
  const { key } = status;
  const close = () => { asking.value = null; };
  return (
    <>
      <p class="muted">
        A second key that recordings are wrapped to, whose private half you keep offline. It opens them when the other key is lost,
        without Keyreel. Nothing is played with it.
      </p>
      {key && (
        <dl class="facts">
          <div><dt>Fingerprint</dt><dd class="mono" data-testid="recovery-id">{key.id}</dd></div>
          <div><dt>Kind</dt><dd>{algorithmName(key.wrapAlgorithm)}, {strengthName(key.strengthBits)}</dd></div>
          <div><dt>Since</dt><dd><Time at={key.dateCreated} /></dd></div>
        </dl>
      )}
      <p data-testid="recovery-words">{recoveryWords(status)}</p>
      <div class="card-foot">
        <button type="button" class="button" onClick={() => { asking.value = "set"; }} data-testid="set-recovery">{key ? "Replace…" : "Set a recovery key…"}</button>
        {key && <button type="button" class="button" onClick={() => { asking.value = "remove"; }} data-testid="remove-recovery">Remove…</button>}
      </div>
      {asking.value === "set" && <SetDialog model={model} replaces={key !== null} onClose={close} />}
      {asking.value === "remove" && <RemoveDialog model={model} onClose={close} />}
    </>
  );
}

function SetDialog({ model, replaces, onClose }: { model: KeysModel; replaces: boolean; onClose: () => void }) {
  const publicKey = useSignal("");

  function check(): string | undefined {
    // It never leaves the page: neither sent nor kept.
    if (isPrivateKey(publicKey.value)) {
      publicKey.value = "";
      return "That is the private half, which stays offline. It was not sent. Paste the file that ends in .public.pem.";
    }
    return publicKey.value.trim() === "" ? "The public key is needed." : undefined;
  }

  async function run() {
    const { key } = await api.setRecovery(model.tenant, publicKey.value.trim());
    await model.reload();
    say(`New recordings are wrapped to the recovery key ${key?.id ?? ""} as well`);
  }

  return (
    <ActionDialog
      title={replaces ? "Replace the recovery key" : "Set a recovery key"} action={replaces ? "Replace" : "Set"} manner="plain" check={check} run={run}
      onClose={onClose}
      weight={{
        happens: `New recordings are wrapped to it too, from now on. Whoever has its private half can open every copy of them, backups included. ${replaces ? "What the former one opens in copies made before, it goes on opening." : "Older recordings follow when they are re-wrapped."}`,
        playback: "Goes on as before, with the organisation's own key alone.",
        undo: "Yes: replace or remove it. Copies that were made meanwhile stay open to whoever has the private half.",
      }}
    >
      <label class="field">
        <span>Public key, as PEM</span>
        <textarea class="input mono" rows={6} value={publicKey.value} autocomplete="off" spellcheck={false} required autofocus data-testid="recovery-public-key"
          onInput={(event) => { publicKey.value = event.currentTarget.value; }} />
      </label>
      <p class="help-line">Make a pair on a machine that is offline: <span class="mono">keyreel recovery new</span>. Try once a year that it opens a recording.</p>
    </ActionDialog>
  );
}

function RemoveDialog({ model, onClose }: { model: KeysModel; onClose: () => void }) {
  async function run() {
    await api.removeRecovery(model.tenant);
    await model.reload();
    say("There is no recovery key any more; re-wrap to drop it from older recordings");
  }
  return (
    <ActionDialog
      title="Remove the recovery key" action="Remove" manner="dangerous" run={run} onClose={onClose}
      weight={{
        happens: "New recordings are wrapped to the organisation's own key alone: if that is lost, they are lost. Older recordings stay open to the recovery key until they are re-wrapped, and copies of them for good.",
        playback: "Goes on as before.",
        undo: "Yes: set it again, and re-wrap.",
      }}
    />
  );
}
