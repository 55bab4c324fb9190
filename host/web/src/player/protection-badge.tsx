/* What protects this recording, in one glance and, on a press, in full. "Verified" is said once bytes
   have come: the server checks every chunk against the seal before it sends it. */
import { useSignal } from "@preact/signals";
import { useCallback } from "preact/hooks";
import { algorithmName, policyName } from "../format";
import { ProviderIcon } from "../library/protection-mark";
import { Shield, ShieldAlert, ShieldCheck } from "../ui/icons";
import { Popover } from "../ui/parts";
import type { Model } from "./model";

export function ProtectionBadge({ model }: { model: Model }) {
  const open = useSignal(false);
  const close = useCallback(() => { open.value = false; }, [open]);
  const { protection } = model.recording;
  const state = badgeState(model);
  return (
    <div class="anchor">
      <button
        type="button" class="badge" data-state={state.kind} data-testid="protection-badge" aria-expanded={open.value}
        onClick={() => { open.value = !open.value; }}
      >
        {state.kind === "verified" ? <ShieldCheck /> : state.kind === "sealed" ? <Shield /> : <ShieldAlert />}
        <span class="badge-words"><span class="badge-provider">{protection.providerName}</span><span class="badge-state">{state.word}</span></span>
      </button>
      <Popover open={open.value} onClose={close} class="protection-card" label="Protection">
        <ProtectionFacts model={model} />
      </Popover>
    </div>
  );
}

export function ProtectionFacts({ model }: { model: Model }) {
  const { protection } = model.recording;
  const state = badgeState(model);
  return (
    <>
      <p class="protection-state" data-state={state.kind}>
        {state.kind === "verified" ? <ShieldCheck /> : state.kind === "sealed" ? <Shield /> : <ShieldAlert />}
        <span><strong>{state.word}.</strong> {state.sentence}</span>
      </p>
      <dl class="facts">
        <div><dt>Key provider</dt><dd class="with-icon"><ProviderIcon provider={protection.provider} size={16} />{protection.providerName}</dd></div>
        <div><dt>Key</dt><dd class="mono">{protection.kekId}</dd></div>
        <div><dt>Key wrapped with</dt><dd>{algorithmName(protection.wrapAlgorithm)}{protection.legacy && <span class="tag tag-legacy">Legacy</span>}</dd></div>
        <div><dt>Strength</dt><dd>{protection.strength}</dd></div>
        <div><dt>Sound sealed with</dt><dd>{protection.bodyCipher}</dd></div>
        <div><dt>Policy</dt><dd>{policyName(protection.policy)}</dd></div>
        {protection.generation > 0 && <div><dt>Re-wrapped</dt><dd>{protection.generation === 1 ? "once" : `${protection.generation} times`}</dd></div>}
      </dl>
      {protection.legacy && (
        <p class="legacy-note">The key is wrapped in an old way (SHA-1). Re-wrapping it to a current key mends that without touching the recording.</p>
      )}
    </>
  );
}

function badgeState(model: Model): { kind: "verified" | "sealed" | "legacy" | "broken"; word: string; sentence: string } {
  const status = model.engine.status.value;
  if (status.kind === "failed" && status.problem.code === "integrity") {
    return { kind: "broken", word: "Damaged", sentence: "The sealed file does not match its seal." };
  }
  const verified = model.engine.verified.value;
  if (model.recording.protection.legacy) {
    return { kind: "legacy", word: verified ? "Verified, legacy wrap" : "Legacy wrap", sentence: verified ? "What you hear matches its seal; its key is wrapped in an old way." : "Its key is wrapped in an old way." };
  }
  return verified
    ? { kind: "verified", word: "Verified", sentence: "Every part is checked against its seal before you hear it." }
    : { kind: "sealed", word: "Sealed", sentence: "It is checked against its seal as it plays." };
}
