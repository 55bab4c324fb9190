/* Asks whether something is meant: what happens, what becomes of playback, whether it can be undone.
   Where recordings would be lost, the loss has to be typed. What the server says against it stands
   beside the button. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { explain, type Problem, problemFromError } from "../api/problem";
import { Alert } from "../ui/icons";
import { say } from "../ui/notice";
import { Dialog, ProblemLine } from "../ui/parts";

export interface Weight {
  happens: ComponentChildren;
  playback: ComponentChildren;
  undo: ComponentChildren;
}

export function ActionDialog(props: {
  title: string;
  weight: Weight;
  action: string;
  manner: "plain" | "dangerous";
  /* What must be typed, word for word. */
  phrase?: string | undefined;
  children?: ComponentChildren;
  /* What is wrong with what was entered, if anything. */
  check?: () => string | undefined;
  run: () => Promise<void>;
  onClose: () => void;
}) {
  const busy = useSignal(false);
  const typed = useSignal("");
  const fault = useSignal("");
  const problem = useSignal<Problem | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const gone = useRef(false);
  useEffect(() => () => { gone.current = true; }, []);
  const close = () => form.current?.closest("dialog")?.close();

  async function submit(event: SubmitEvent) {
    event.preventDefault();
    if (busy.value) return;
    fault.value = props.check?.() ?? "";
    if (fault.value) return;
    busy.value = true;
    problem.value = null;
    try {
      await props.run();
      close();
    } catch (error) {
      const failed = problemFromError(error);
      problem.value = failed;
      // The dialog was left while the server was at it.
      if (gone.current) say(failed.detail || explain(failed).title);
    }
    busy.value = false;
  }

  const missing = props.phrase !== undefined && typed.value !== props.phrase;
  return (
    <Dialog title={props.title} onClose={props.onClose} beside="stays" class="narrow" testId="action-dialog">
      <form class="action" ref={form} onSubmit={submit} noValidate aria-busy={busy.value}>
        <dl class="weight">
          <div><dt>What happens</dt><dd>{props.weight.happens}</dd></div>
          <div><dt>Playback</dt><dd>{props.weight.playback}</dd></div>
          <div><dt>Can it be undone?</dt><dd>{props.weight.undo}</dd></div>
        </dl>
        {props.children}
        {props.phrase !== undefined && (
          <label class="field">
            <span>Type <strong class="phrase">{props.phrase}</strong> to go on</span>
            <input
              class="input mono" value={typed.value} autofocus autocomplete="off" autocapitalize="none" spellcheck={false} data-testid="phrase"
              onInput={(event) => { typed.value = event.currentTarget.value; }}
            />
          </label>
        )}
        <div class="dialog-end">
          {fault.value && <p class="form-problem" role="alert"><Alert size={20} /><span>{fault.value}</span></p>}
          {problem.value && <ProblemLine problem={problem.value} />}
          <div class="dialog-foot">
            <button type="button" class="button" onClick={close} autofocus={props.phrase === undefined && !props.children}>Cancel</button>
            <button
              type="submit" class={`button ${props.manner === "dangerous" ? "danger" : "primary"}`} disabled={busy.value || missing}
              data-testid="confirm"
            >
              {busy.value ? "One moment…" : props.action}
            </button>
          </div>
        </div>
      </form>
    </Dialog>
  );
}
