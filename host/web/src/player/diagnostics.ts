/* What browser tests may look at and nobody may change: `window.__keyreel`, on the player's page only.
   Documented in host/web/README.md. Not for: the pages themselves. */
import type { Model } from "./model";

export interface Diagnostics {
  /* Root mean square of what reaches the ears, 0 to 1; 0 before the first play. */
  level(): number;
  laneLevel(channel: number): number;
  readonly status: string;
  readonly time: number;
  readonly duration: number;
  readonly playing: boolean;
  readonly verified: boolean;
  readonly grants: number;
  readonly recoveries: number;
  readonly silences: readonly { start: number; end: number }[];
}

export function diagnose(model: Model): () => void {
  const { engine } = model;
  const diagnostics: Diagnostics = Object.freeze({
    level: () => engine.level(),
    laneLevel: (channel: number) => engine.laneLevel(channel),
    get status() { return engine.status.peek().kind; },
    get time() { return engine.time.peek(); },
    get duration() { return engine.duration.peek(); },
    get playing() { return engine.playing.peek(); },
    get verified() { return engine.verified.peek(); },
    get grants() { return engine.grants.peek(); },
    get recoveries() { return engine.recoveries.peek(); },
    get silences() { return engine.silences.peek().map(({ start, end }) => ({ start, end })); },
  });
  Object.defineProperty(window, "__keyreel", { value: diagnostics, configurable: true });
  return () => { delete (window as { __keyreel?: Diagnostics }).__keyreel; };
}
