/* What is done to one key: disabled, enabled, retired. */
import * as api from "../api/keys";
import type { KeyVersion } from "../api/types";
import { counted } from "../format";
import { say } from "../ui/notice";
import { ActionDialog, type Weight } from "./action-dialog";
import { lossPhrase } from "./words";

export type KeyAction = "disable" | "enable" | "retire";

export function KeyDialog(props: {
  tenant: string; action: KeyAction; of: KeyVersion; onDone: () => Promise<void>; onClose: () => void;
}) {
  const { tenant, action, of: key } = props;
  const words = WORDS[action];
  const loses = action === "retire" && key.recordings > 0;
  const phrase = loses ? lossPhrase(key.recordings) : undefined;
  async function run() {
    try {
      if (action === "disable") await api.disable(tenant, key);
      else if (action === "enable") await api.enable(tenant, key);
      else await api.retire(tenant, key, phrase ?? null);
    } finally {
      // A refusal may come from a count or a state that changed meanwhile: show what is so now.
      await props.onDone();
    }
    say(`${key.id} ${words.done}`);
  }
  return (
    <ActionDialog
      title={`${words.title} ${key.id}`} action={loses ? `Retire and lose ${counted(key.recordings, "recording")}` : words.title}
      manner={action === "enable" ? "plain" : "dangerous"} phrase={phrase} run={run} onClose={props.onClose} weight={words.weight(key)}
    />
  );
}

const WORDS: Record<KeyAction, { title: string; done: string; weight: (key: KeyVersion) => Weight }> = {
  disable: {
    title: "Disable",
    done: "is disabled: it opens nothing until it is enabled",
    weight: (key) => ({
      happens: key.state === "current"
        ? <>The key opens and seals nothing from now on. <strong>It is the current one: recordings cannot be taken in until another is.</strong></>
        : "The key opens nothing from now on, whatever its owner's key service says.",
      playback: <>{affected(key)} Caches are emptied and what is playing is cut at once.</>,
      undo: "Yes: enable it, and everything plays again.",
    }),
  },
  enable: {
    title: "Enable",
    done: "is enabled: its recordings open again",
    weight: (key) => ({
      happens: "The key opens its recordings again. If it is the newest and there is no current key, new recordings are sealed with it again.",
      playback: key.recordings > 0 ? `${counted(key.recordings, "recording")} can be played again, if the key's owner says yes.` : "No recording needs it now.",
      undo: "Yes: disable it again.",
    }),
  },
  retire: {
    title: "Retire",
    done: "is retired",
    weight: (key) => ({
      happens: key.recordings > 0
        ? <>The key is given up for good. <strong>{counted(key.recordings, "recording")} {key.recordings === 1 ? "needs" : "need"} it and nothing else opens {key.recordings === 1 ? "it" : "them"}.</strong> Re-wrap first to keep them.</>
        : "The key is given up for good. No recording needs it any more.",
      playback: key.recordings > 0 ? <><strong>{counted(key.recordings, "recording")} can never be played again.</strong></> : "Goes on: nothing is lost.",
      undo: <strong>No.</strong>,
    }),
  },
};

function affected(key: KeyVersion): string {
  if (key.recordings === 0) return "No recording needs this key.";
  return `${counted(key.recordings, "recording")} cannot be played until it is enabled.`;
}
