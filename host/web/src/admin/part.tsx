/* One part of the page: it keeps its place while it loads, and says so where it could not be fetched. */
import type { ComponentChildren } from "preact";
import { ProblemLine } from "../ui/parts";
import type { Loaded } from "./keys-model";

export function Part(props: {
  title: string; id: string; of: Loaded<unknown>; again: () => void;
  /* How many lines to keep free until it is here. */
  rows: number;
  class?: string; end?: ComponentChildren; children: ComponentChildren;
}) {
  const { value, problem } = props.of;
  return (
    <section class={`card admin-card ${props.class ?? ""}`} aria-labelledby={`${props.id}-heading`} data-testid={`part-${props.id}`} aria-busy={value === null && !problem}>
      <div class="card-head"><h2 id={`${props.id}-heading`}>{props.title}</h2>{props.end}</div>
      {problem && (
        <div class="part-problem">
          <ProblemLine problem={problem} />
          <button type="button" class="button small" onClick={props.again}>Try again</button>
        </div>
      )}
      {value === null && !problem && (
        <div class="waiting" role="status">
          <span class="visually-hidden">Loading</span>
          {Array.from({ length: props.rows }, (_, index) => <i key={index} aria-hidden="true" />)}
        </div>
      )}
      {value !== null && props.children}
    </section>
  );
}
