/* Every code that the server has becomes words that say whose turn it is. */
import { describe, expect, test } from "vitest";
import { explain, parseRetryAfter, problemFromResponse, problemOf } from "./problem";

/* The codes of the HTTP contract, and whether waiting helps. */
const CODES: [code: string, status: number, passing: boolean][] = [
  ["unauthenticated", 401, false], ["denied", 403, false], ["key-denied", 403, false], ["key-disabled", 403, false],
  ["conflict", 409, false], ["key-in-use", 409, false], ["not-found", 404, false], ["key-not-found", 404, false], ["destroyed", 410, false], ["integrity", 422, false],
  ["throttled", 503, true], ["unavailable", 503, true], ["circuit-open", 503, true], ["timeout", 504, true],
  ["provider-malformed", 502, false], ["config", 500, false], ["audit-unavailable", 503, true], ["internal", 500, true],
];

describe("codes", () => {
  test.each(CODES)("%s (%s)", (code, status, passing) => {
    const problem = problemOf(status, null, { code, title: "raw title" });
    const words = explain(problem);
    expect(problem.passing).toBe(passing);
    expect(words.title).not.toBe("raw title");
    expect(words.advice.length).toBeGreaterThan(20);
  });
  test("the four that people confuse are told apart", () => {
    const words = ["unavailable", "key-disabled", "denied", "integrity"].map((code) => explain(problemOf(500, null, { code })));
    expect(new Set(words.map((each) => each.title)).size).toBe(4);
    expect(words.map((each) => each.turn)).toEqual(["your key service", "your key service", "your administrator", "your administrator"]);
  });
  test.each([
    ["managed", "operator", "Keyreel's key store did not answer", "Keyreel"],
    ["lkm", "key-owner", "Your Local Key Manager did not answer", "your key service"],
    ["aws-kms", "key-owner", "AWS KMS did not answer", "your key service"],
    ["acme-hsm", "key-owner", "Your key service did not answer", "your key service"],
  ])("who keeps the key decides whose turn it is: %s", (provider, turn, title, whose) => {
    const detail = "What the server says of it.";
    expect(explain(problemOf(503, null, { code: "unavailable", provider, turn, detail })))
      .toEqual({ title, advice: detail, turn: whose });
  });
  test("an unknown code keeps the server's words below 500, and not above", () => {
    expect(explain(problemOf(409, null, { code: "new-one", title: "Taken", detail: "It is taken." })))
      .toEqual({ title: "Taken", advice: "It is taken.", turn: "you" });
    expect(explain(problemOf(599, null, { code: "new-one", title: "stack trace" })).turn).toBe("Keyreel");
  });
});

describe("answers", () => {
  test("problem+json with Retry-After", async () => {
    const response = new Response(JSON.stringify({ code: "throttled", title: "t", requestId: "r1" }), {
      status: 503, headers: { "content-type": "application/problem+json", "retry-after": "7" },
    });
    const problem = await problemFromResponse(response);
    expect(problem).toMatchObject({ code: "throttled", status: 503, retryAfterSeconds: 7, requestId: "r1" });
  });
  test("the body's retryAfterSeconds is more exact than the header", () => {
    expect(problemOf(503, "9", { code: "throttled", retryAfterSeconds: 2 }).retryAfterSeconds).toBe(2);
  });
  test.each([[503, "unreachable"], [502, "bad-gateway"], [504, "timeout"], [404, "not-found"], [418, "bad-request"]])(
    "a proxy's %s page → %s", async (status, code) => {
      const response = new Response("<html>", { status, headers: { "content-type": "text/html" } });
      expect((await problemFromResponse(response)).code).toBe(code);
    });
  test("JSON cut short falls back on the status", async () => {
    const response = new Response('{"code":"thr', { status: 503, headers: { "content-type": "application/problem+json" } });
    expect((await problemFromResponse(response)).code).toBe("unreachable");
  });
});

test("Retry-After in seconds, as a date, as nonsense", () => {
  const now = Date.parse("2026-11-03T09:00:00Z");
  expect(parseRetryAfter("12", now)).toBe(12);
  expect(parseRetryAfter("Tue, 03 Nov 2026 09:00:30 GMT", now)).toBe(30);
  expect(parseRetryAfter("Tue, 03 Nov 2026 08:00:00 GMT", now)).toBe(0);
  expect(parseRetryAfter("soon", now)).toBeUndefined();
  expect(parseRetryAfter(null, now)).toBeUndefined();
});
