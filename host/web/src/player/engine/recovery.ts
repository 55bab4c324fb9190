/* When to try again, and when to stop and say so. Pure: time and chance are passed in.
   Not for: fetching grants or touching the media element (engine.ts). */
import type { Problem } from "../../api/problem";

export type Step =
  | { kind: "retry"; attempt: number; of: number; delayMs: number }
  | { kind: "give-up" };

export const TRIES = 6;

export class Recovery {
  #attempt = 0;
  #lastPosition = 0;

  /* What to do about a failure at `position`. `random` is in [0, 1). */
  next(problem: Problem, position: number, random: number): Step {
    if (!problem.passing) return { kind: "give-up" };
    // Sound that was heard since the last failure earns the tries back.
    if (position > this.#lastPosition + PROGRESS) this.#attempt = 0;
    this.#lastPosition = position;
    this.#attempt += 1;
    if (this.#attempt > TRIES) return { kind: "give-up" };
    return {
      kind: "retry", attempt: this.#attempt, of: TRIES,
      delayMs: delay(this.#attempt, problem.retryAfterSeconds, random),
    };
  }

  reset(): void {
    this.#attempt = 0;
    this.#lastPosition = 0;
  }
}

/* The first try is nearly at once: most failures are one broken connection. Then 0.5, 1, 2, 4, 8 s
   with up to a quarter of jitter. What the server asks for is a lower bound, and is believed up to
   a minute. */
export function delay(attempt: number, retryAfterSeconds: number | undefined, random: number): number {
  const base = attempt === 1 ? 150 : Math.min(8000, 500 * 2 ** (attempt - 2));
  const asked = Math.min(60, retryAfterSeconds ?? 0) * 1000;
  return Math.round(Math.max(base, asked) * (1 + random / 4));
}

/* When to fetch the next grant: a tenth of its life before its end, at least 5 s, at most 2 minutes.
   A grant that seems to end at once is a sign of clocks apart: asking again would bring the same, so
   it is used as long as it serves, and recovery does the rest. */
export function renewIn(expires: string, now: number): number {
  const left = Date.parse(expires) - now;
  if (!Number.isFinite(left) || left < 10_000) return Number.POSITIVE_INFINITY;
  return left - Math.min(120_000, Math.max(5000, left / 10));
}

const PROGRESS = 5;
