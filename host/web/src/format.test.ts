/* Times as read, spoken and linked. */
import { describe, expect, test } from "vitest";
import { algorithmStrength, bytes, clock, linkTime, parseTime, spoken, spokenPosition, titleOf } from "./format";

describe("clock", () => {
  test.each([
    [0, "0:00"], [9.99, "0:09"], [59.999, "0:59"], [60, "1:00"], [83.5, "1:23"], [599, "9:59"],
    [3599, "59:59"], [3600, "1:00:00"], [3723, "1:02:03"], [-4, "0:00"], [Number.NaN, "0:00"],
    [Number.POSITIVE_INFINITY, "0:00"],
  ])("%s → %s", (seconds, text) => expect(clock(seconds)).toBe(text));
  test.each([[0, "0:00.0"], [83.54, "1:23.5"], [59.99, "0:59.9"], [119.96, "1:59.9"], [0.3, "0:00.3"], [3600.1, "1:00:00.1"]])(
    "%s in tenths → %s", (seconds, text) => expect(clock(seconds, "tenths")).toBe(text));
});

describe("spoken", () => {
  test.each([
    [0, "0 seconds"], [1, "1 second"], [60, "1 minute"], [83, "1 minute 23 seconds"],
    [3661, "1 hour 1 minute 1 second"], [7200, "2 hours"],
  ])("%s → %s", (seconds, text) => expect(spoken(seconds)).toBe(text));
  test("a position", () => {
    expect(spokenPosition(83, 240)).toBe("1 minute 23 seconds of 4 minutes");
  });
});

describe("the t of a link", () => {
  test.each([
    ["83.5", 83.5], ["83", 83], ["83s", 83], ["1m23s", 83], ["1h2m3s", 3723], ["2m", 120], ["1:23", 83], ["1:23.5", 83.5],
    ["1:02:03", 3723], [" 7 ", 7],
  ])("%s → %s", (text, seconds) => expect(parseTime(text)).toBe(seconds));
  test.each(["", "abc", "-3", "1:2:3:4", "NaN", "1e3", "m"])("%j is none", (text) => expect(parseTime(text)).toBeUndefined());
  test("null is none", () => expect(parseTime(null)).toBeUndefined());
  test("what is written is read back within a tenth", () => {
    for (const seconds of [0, 0.04, 12.345, 83.5, 3599.96]) {
      expect(Math.abs(parseTime(linkTime(seconds))! - seconds)).toBeLessThanOrEqual(0.05 + 1e-9);
    }
  });
});

test("bytes", () => {
  expect([0, 999, 1000, 15_000_000, 57_600_044].map(bytes)).toEqual(["0 bytes", "999 bytes", "1.0 kB", "15.0 MB", "57.6 MB"]);
});

test("strength follows the algorithm's name", () => {
  expect(["rsa-oaep-sha256", "rsa-oaep-sha1", "hpke-mlkem1024-p384"].map(algorithmStrength))
    .toEqual(["standard", "legacy", "post-quantum"]);
});

test("a recording without a subject has a title all the same", () => {
  expect(titleOf({ subject: null, media: "call", queue: "Cards" })).toBe("Call · Cards");
  expect(titleOf({ subject: "", media: "email", queue: null })).toBe("E-mail");
});
