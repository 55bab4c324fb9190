/* A key pair whose private half its owner keeps: its public key is registered, tried, and made the
   current one. Not for: providers that make key pairs themselves. */
import { useSignal } from "@preact/signals";
import * as api from "../api/keys";
import type { KeyConfiguration } from "../api/types";
import { say } from "../ui/notice";
import { ActionDialog } from "./action-dialog";
import { isPrivateKey, isUuid } from "./words";

export function RegisterDialog(props: {
  tenant: string; configurations: KeyConfiguration[]; chosen: string; onDone: () => Promise<void>; onClose: () => void;
}) {
  const configId = useSignal(props.chosen);
  const keypairId = useSignal("");
  const publicKey = useSignal("");

  function check(): string | undefined {
    // It never leaves the page: neither sent nor kept.
    if (isPrivateKey(publicKey.value)) {
      publicKey.value = "";
      return "That is a private key, which belongs in the Local Key Manager alone. It was not sent. Copy the public key.";
    }
    if (!isUuid(keypairId.value)) return "The id of a key pair is a UUID, such as 4b26322f-7a54-420e-89cb-bb8a7dbac812.";
    if (publicKey.value.trim() === "") return "The public key is needed.";
    return undefined;
  }

  async function run() {
    const key = await api.registerLocalKey(props.tenant, {
      configId: configId.value, keypairId: keypairId.value.trim(), publicKey: publicKey.value.trim(),
    });
    await props.onDone();
    say(`${key.id} is the current key now: new recordings are sealed with it`);
  }

  return (
    <ActionDialog
      title="Register a key pair" action="Try and register" manner="plain" check={check} run={run} onClose={props.onClose}
      weight={{
        happens: "A sample is sealed with the public key and sent to the Local Key Manager. Only if it comes back right is the key registered; new recordings are sealed with it from then on.",
        playback: "Older recordings keep opening with the key pairs that sealed them. Keep those in the Local Key Manager.",
        undo: "The pair stays registered. Register the next one to replace it for new recordings.",
      }}
    >
      {props.configurations.length > 1 && (
        <label class="field">
          <span>Key service</span>
          <select class="select" value={configId.value} onChange={(event) => { configId.value = event.currentTarget.value; }}>
            {props.configurations.map((each) => <option key={each.id} value={each.id}>{each.url ?? each.id}</option>)}
          </select>
        </label>
      )}
      <label class="field">
        <span>Key pair id</span>
        <input class="input mono" value={keypairId.value} autocomplete="off" autocapitalize="none" spellcheck={false} required autofocus
          placeholder="00000000-0000-0000-0000-000000000000" data-testid="keypair-id"
          onInput={(event) => { keypairId.value = event.currentTarget.value; }} />
      </label>
      <label class="field">
        <span>Public key, as PEM or base64</span>
        <textarea class="input mono" rows={5} value={publicKey.value} autocomplete="off" spellcheck={false} required data-testid="public-key"
          onInput={(event) => { publicKey.value = event.currentTarget.value; }} />
      </label>
    </ActionDialog>
  );
}
