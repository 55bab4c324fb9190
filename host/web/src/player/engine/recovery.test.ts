/* When playback tries again, and when it stops. */
import { describe, expect, test } from "vitest";
import { problemOf } from "../../api/problem";
import { audibleLanes } from "./engine";
import { delay, Recovery, renewIn, TRIES } from "./recovery";

const passing = problemOf(503, null, { code: "unavailable" });
const final = problemOf(403, null, { code: "key-disabled" });

describe("Recovery", () => {
  test("tries are bounded, and each waits longer", () => {
    const recovery = new Recovery();
    const waits: number[] = [];
    for (let round = 0; round < TRIES; round += 1) {
      const step = recovery.next(passing, 10, 0);
      if (step.kind !== "retry") throw new Error("gave up early");
      expect(step).toMatchObject({ attempt: round + 1, of: TRIES });
      waits.push(step.delayMs);
    }
    expect(waits).toEqual([150, 500, 1000, 2000, 4000, 8000]);
    expect(recovery.next(passing, 10, 0)).toEqual({ kind: "give-up" });
  });
  test("what waiting does not mend is given up at once", () => {
    expect(new Recovery().next(final, 0, 0)).toEqual({ kind: "give-up" });
  });
  test("sound heard since earns the tries back; a hair's breadth does not", () => {
    const recovery = new Recovery();
    for (let round = 0; round < TRIES; round += 1) recovery.next(passing, 10 + round * 0.1, 0);
    expect(recovery.next(passing, 30, 0)).toMatchObject({ kind: "retry", attempt: 1 });
    for (let round = 1; round < TRIES; round += 1) recovery.next(passing, 31, 0);
    expect(recovery.next(passing, 32, 0)).toEqual({ kind: "give-up" });
  });
  test("a listener's own retry starts anew", () => {
    const recovery = new Recovery();
    for (let round = 0; round <= TRIES; round += 1) recovery.next(passing, 10, 0);
    recovery.reset();
    expect(recovery.next(passing, 10, 0)).toMatchObject({ kind: "retry", attempt: 1 });
  });
});

describe("delay", () => {
  test("Retry-After is a lower bound, believed up to a minute", () => {
    expect(delay(1, 3, 0)).toBe(3000);
    expect(delay(6, 1, 0)).toBe(8000);
    expect(delay(1, 86_400, 0)).toBe(60_000);
  });
  test("jitter only lengthens, by a quarter at most", () => {
    expect(delay(3, undefined, 0.999)).toBeLessThanOrEqual(1250);
    expect(delay(3, undefined, 0)).toBe(1000);
  });
});

describe("renewIn", () => {
  const now = Date.parse("2026-11-03T09:00:00.000Z");
  test.each([
    ["2026-11-03T10:00:00Z", 3_600_000 - 120_000], ["2026-11-03T09:05:00Z", 300_000 - 30_000], ["2026-11-03T09:00:20Z", 15_000],
  ])("a grant until %s is renewed in %s ms", (expires, wait) => expect(renewIn(expires, now)).toBe(wait));
  test.each(["soon", "2026-11-03T09:00:05Z", "2026-11-03T08:00:00Z"])("one until %s is not renewed, whatever the clocks", (expires) =>
    expect(renewIn(expires, now)).toBe(Number.POSITIVE_INFINITY));
});

test("solo wins over mute, and mono fills both inputs", () => {
  const lane = (muted: boolean, solo: boolean) => ({ muted, solo });
  expect(audibleLanes([lane(false, false), lane(false, false)])).toEqual([true, true]);
  expect(audibleLanes([lane(true, false), lane(false, false)])).toEqual([false, true]);
  expect(audibleLanes([lane(true, true), lane(false, false)])).toEqual([true, false]);
  expect(audibleLanes([lane(true, false)])).toEqual([false, false]);
});
