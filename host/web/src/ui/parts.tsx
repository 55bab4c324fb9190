/* Small parts that every page uses: problems in words, toggles, the spinner, announcements.
   Not for: anything that knows about recordings. */
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { explain, type Problem } from "../api/problem";
import { day, moment, utc } from "../format";
import { Alert, Close } from "./icons";

export function ProblemCard({ problem, children }: { problem: Problem; children?: ComponentChildren }) {
  const words = explain(problem);
  return (
    <section class="problem" role="alert" data-testid="problem" data-code={problem.code}>
      <span class="problem-icon"><Alert size={22} /></span>
      <div class="problem-words">
        <h2>{words.title}</h2>
        <p>{words.advice}</p>
        <p class="problem-turn">
          <span>{words.turn === "nobody" ? "There is nothing to be done." : <>Whose turn it is: <strong>{words.turn}</strong></>}</span>
          {problem.requestId && <span class="problem-reference">Reference {problem.requestId}</span>}
        </p>
        {children && <div class="problem-actions">{children}</div>}
      </div>
    </section>
  );
}

export function Spinner({ label }: { label: string }) {
  return <span class="spinner" role="status"><span class="visually-hidden">{label}</span></span>;
}

/* A dialog on the platform's own element: focus is held and given back, Escape closes. A press beside
   it closes it too, unless something was typed into it that a slip would lose. */
export function Dialog(props: {
  title: string; onClose: () => void; children: ComponentChildren; beside?: "closes" | "stays"; class?: string; testId?: string;
}) {
  const element = useRef<HTMLDialogElement>(null);
  useLayoutEffect(() => {
    const dialog = element.current;
    if (dialog && !dialog.open) dialog.showModal();
  }, []);
  return (
    <dialog
      class={`dialog ${props.class ?? ""}`} ref={element} aria-label={props.title} onClose={props.onClose} data-testid={props.testId}
      onClick={(event) => { if (event.target === element.current && props.beside !== "stays") element.current?.close(); }}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2>{props.title}</h2>
          <button type="button" class="button ghost square" onClick={() => element.current?.close()}>
            <Close /><span class="visually-hidden">Close</span>
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}

/* An instant: in the reader's zone, and for everybody on hover. */
export function Time({ at, brief }: { at: string; brief?: "day" }) {
  return <time dateTime={at} title={utc(at)}>{brief === "day" ? day(at) : moment(at)}</time>;
}

/* What the server says of something that did not work, beside what was pressed. */
export function ProblemLine({ problem }: { problem: Problem }) {
  const words = explain(problem);
  return (
    <p class="form-problem" role="alert" data-testid="problem" data-code={problem.code}>
      <Alert size={20} />
      <span>
        {problem.detail || `${words.title}. ${words.advice}`}
        {problem.requestId && <span class="problem-reference"> Reference {problem.requestId}</span>}
      </span>
    </p>
  );
}

/* Something small beside the button that opens it. Closes on Escape and on a press elsewhere. */
export function Popover(props: { open: boolean; onClose: () => void; class?: string; label: string; children: ComponentChildren }) {
  const element = useRef<HTMLDivElement>(null);
  const { open, onClose } = props;
  useEffect(() => {
    if (!open) return;
    const press = (event: PointerEvent) => {
      if (!element.current?.parentElement?.contains(event.target as Node)) onClose();
    };
    const key = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      onClose();
      element.current?.parentElement?.querySelector<HTMLElement>("button")?.focus();
    };
    addEventListener("pointerdown", press);
    addEventListener("keydown", key, true);
    return () => {
      removeEventListener("pointerdown", press);
      removeEventListener("keydown", key, true);
    };
  }, [open, onClose]);
  if (!open) return null;
  return <div class={`popover ${props.class ?? ""}`} ref={element} role="group" aria-label={props.label}>{props.children}</div>;
}

/* Said by a screen reader, once, politely. */
const announcement = signal("");

export function announce(text: string): void {
  announcement.value = "";
  requestAnimationFrame(() => { announcement.value = text; });
}

export function Announcer() {
  return <div class="visually-hidden" role="status" aria-live="polite">{announcement.value}</div>;
}
