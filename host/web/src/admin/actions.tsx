/* What is done to a tenant's keys as a whole: a new key, another policy, empty caches. */
import { useSignal } from "@preact/signals";
import * as api from "../api/keys";
import type { TenantKeys } from "../api/types";
import { counted, policyName, providerName } from "../format";
import { say } from "../ui/notice";
import { ActionDialog } from "./action-dialog";

interface Of {
  keys: TenantKeys;
  onDone: () => Promise<void>;
  onClose: () => void;
}

export function RotateDialog({ keys, onDone, onClose }: Of) {
  async function run() {
    const key = await api.rotate(keys.tenant);
    await onDone();
    say(`${key.id} is the current key now: new recordings are sealed with it`);
  }
  return (
    <ActionDialog
      title="Rotate now" action="Make a new key" manner="plain" run={run} onClose={onClose}
      weight={{
        happens: `${providerName(keys.provider)}: a new key pair is made and tried. If that works, new recordings are sealed with it at once; if not, nothing changes.`,
        playback: "Goes on. Older recordings keep opening with the keys that sealed them, until they are re-wrapped.",
        undo: "No, and it need not be: the earlier keys stay.",
      }}
    />
  );
}

export function PolicyDialog({ keys, onDone, onClose }: Of) {
  const policy = useSignal(keys.policy);
  async function run() {
    const key = await api.setPolicy(keys.tenant, policy.value);
    await onDone();
    say(`The policy is changed, and ${key.id} is the current key`);
  }
  return (
    <ActionDialog
      title="Change policy" action="Change policy and make a new key" manner="plain" run={run} onClose={onClose}
      check={() => (policy.value === keys.policy ? "That is the policy already. Choose the other one, or cancel." : undefined)}
      weight={{
        happens: "The policy says how strong new keys are. With the change a new key of that strength is made, tried, and seals new recordings from then on. If the provider cannot make one, nothing changes.",
        playback: "Goes on. Older recordings stay as strong as they were sealed, until they are re-wrapped.",
        undo: "Yes: change it back, which makes another key.",
      }}
    >
      <fieldset class="choices">
        <legend>Policy</legend>
        {POLICIES.map(({ id, means }) => (
          <label class="choice" key={id}>
            <input type="radio" name="policy" value={id} checked={policy.value === id} onChange={() => { policy.value = id; }} />
            <span><strong>{policyName(id)}{id === keys.policy && <span class="optional"> now</span>}</strong><span class="muted">{means}</span></span>
          </label>
        ))}
      </fieldset>
    </ActionDialog>
  );
}

export function PurgeDialog({ tenant, name, onClose }: { tenant: string; name: string; onClose: () => void }) {
  async function run() {
    const { cutPlays } = await api.purge(tenant);
    say(`Key caches are empty; ${cutPlays === 0 ? "nothing was playing" : `${counted(cutPlays, "play")} ${cutPlays === 1 ? "was" : "were"} cut`}`);
  }
  return (
    <ActionDialog
      title="Empty key caches" action="Empty caches" manner="dangerous" run={run} onClose={onClose}
      weight={{
        happens: `All keys of ${name}'s recordings that are held in memory are destroyed.`,
        playback: "Everything of this organisation that is playing is cut at its next chunk. Players ask for the key anew and go on where its owner still says yes.",
        undo: "There is nothing to undo: what may still be opened is simply asked for again.",
      }}
    />
  );
}

const POLICIES = [
  { id: "compatible", means: "RSA of 3072 bits, 128-bit strength: what every key service knows." },
  { id: "aes256", means: "HPKE with ML-KEM-1024 and P-384: 256-bit strength from the key to the sound, against quantum computers too. The key provider has to know it." },
] as const;
