/* One line at the foot of the window that says what was done. It moves nothing, and goes by itself.
   Not for: what went wrong beside its own button (ProblemLine). */
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

const shown = signal("");
let timer: ReturnType<typeof setTimeout> | undefined;

export function say(text: string): void {
  clearTimeout(timer);
  shown.value = text;
  timer = setTimeout(() => { shown.value = ""; }, 7000);
}

export function Notice() {
  useEffect(() => () => { clearTimeout(timer); shown.value = ""; }, []);
  return <div class="toast" role="status" data-shown={shown.value !== ""} data-testid="toast">{shown.value}</div>;
}
