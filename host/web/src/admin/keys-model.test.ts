/* What the page shows, from a server's answers: part by part, in step after actions, and a re-wrap
   watched to its end. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { RewrapStatus, TenantKeys } from "../api/types";
import { KeysModel } from "./keys-model";

type Answer = { status?: number; body: unknown };
let answers: Record<string, Answer | ((body: unknown) => Answer)>;
let asked: { line: string; body: unknown; headers: Record<string, string> }[];

const keys = (change: Partial<TenantKeys> = {}): TenantKeys =>
  ({ tenant: "a b", policy: "compatible", provider: "managed", mintsKeks: true, keys: [], ...change });
const status = (state: string, done: number): RewrapStatus =>
  ({ state, total: 10, done, failed: 0, perSecond: 5, startedAt: null, updatedAt: null, endedAt: null, lastError: null, failures: [] });
const KEYS = "GET /api/v1/tenants/a%20b/keys";
const REWRAP = "/api/v1/tenants/a%20b/keys/rewrap";
const CONFIGURATIONS = "/api/v2/recording/keyconfigurations";

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  answers = {
    [KEYS]: { body: keys() },
    [`${KEYS}/providers`]: { body: { entities: [{ id: "managed" }] } },
    [`GET ${REWRAP}`]: { body: status("idle", 0) },
    [`${KEYS}/recovery`]: { body: { key: null, recordings: 3, lacking: 3, former: 0 } },
    [`GET ${CONFIGURATIONS}?pageSize=200&tenant=a+b`]: { body: { entities: [{ id: "c/1" }, { id: "c2" }], total: 2 } },
    [`GET ${CONFIGURATIONS}/c%2F1?tenant=a+b`]: { body: { id: "c/1", lastError: "It is down." } },
    [`GET ${CONFIGURATIONS}/c2?tenant=a+b`]: { body: { id: "c2" } },
    "GET /api/v2/recording/recordingkeys/rotationschedule?tenant=a+b": { body: { period: "WEEKLY" } },
  };
  vi.stubGlobal("fetch", async (uri: string, init: { method: string; body: string | null; headers: Record<string, string> }) => {
    const line = `${init.method} ${uri}`;
    const sent = init.body === null ? undefined : JSON.parse(init.body) as unknown;
    asked.push({ line, body: sent, headers: init.headers });
    const found = answers[line];
    const answer = typeof found === "function" ? found(sent) : found ?? { status: 404, body: { code: "not-found", detail: "No such route" } };
    return new Response(JSON.stringify(answer.body), {
      status: answer.status ?? 200, headers: { "content-type": answer.status ? "application/problem+json" : "application/json" },
    });
  });
});
afterEach(() => { vi.useRealTimers(); vi.unstubAllGlobals(); });

const make = (signedOut = () => undefined as void) => new KeysModel("a b", signedOut);

test("every part is fetched, of this tenant", async () => {
  const model = make();
  await model.load();
  expect(model.keys.value.value).toEqual(keys());
  expect(model.schedule.value.value?.period).toBe("WEEKLY");
  await vi.waitFor(() => expect(model.health.value).toEqual({ "c/1": { kind: "ill", detail: "It is down." }, "c2": { kind: "well" } }));
  expect(model.rewrap.value.value?.state).toBe("idle");
  expect(model.recovery.value.value?.lacking).toBe(3);
  model.destroy();
});

test("where owners register their keys no schedule is asked for", async () => {
  answers[KEYS] = { body: keys({ mintsKeks: false }) };
  const model = make();
  await model.load();
  expect(asked.some(({ line }) => line.includes("rotationschedule"))).toBe(false);
  expect(model.schedule.value).toEqual({ value: null, problem: null });
  model.destroy();
});

test("a part that fails says so in the server's words and hides no other; what was shown stays", async () => {
  const model = make();
  await model.load();
  answers[KEYS] = { status: 503, body: { code: "unavailable", detail: "The catalogue does not answer." } };
  await model.reload();
  expect(model.keys.value.problem?.detail).toBe("The catalogue does not answer.");
  expect(model.keys.value.value).toEqual(keys());
  expect(model.configurations.value.problem).toBeNull();
  model.destroy();
});

test("whoever is signed out is sent to sign in", async () => {
  answers[KEYS] = { status: 401, body: { code: "unauthenticated" } };
  const signedOut = vi.fn();
  const model = make(signedOut);
  await model.loadKeys();
  expect(signedOut).toHaveBeenCalledOnce();
  model.destroy();
});

test("a running re-wrap is looked at every second, and the keys once it has ended", async () => {
  let done = 0;
  answers[`POST ${REWRAP}`] = () => ({ body: status("running", 0) });
  answers[`GET ${REWRAP}`] = () => { done += 5; return { body: status(done >= 10 ? "done" : "running", done) }; };
  const model = make();
  await model.startRewrap(5);
  expect(asked.at(-1)).toMatchObject({ line: `POST ${REWRAP}`, body: { perSecond: 5 }, headers: { "x-keyreel": "1" } });
  await vi.advanceTimersByTimeAsync(1000);
  expect(model.rewrap.value.value?.done).toBe(5);
  expect(model.looks.value!.last.handled - model.looks.value!.first.handled).toBe(5);
  expect(asked.some(({ line }) => line === KEYS)).toBe(false);
  await vi.advanceTimersByTimeAsync(1000);
  expect(model.rewrap.value.value?.state).toBe("done");
  expect(asked.filter(({ line }) => line === KEYS)).toHaveLength(1);
  const before = asked.length;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked).toHaveLength(before);
  model.destroy();
});

test("a look from before a stop tells nothing after it", async () => {
  answers[`POST ${REWRAP}`] = { body: status("running", 0) };
  answers[`DELETE ${REWRAP}`] = { body: status("stopped", 3) };
  const model = make();
  await model.startRewrap(null);
  let late: () => void = () => undefined;
  const held = new Promise<void>((done) => { late = done; });
  const fetched = globalThis.fetch;
  vi.stubGlobal("fetch", async (uri: string, init: RequestInit) => {
    if (init.method === "GET" && uri === REWRAP) {
      await held;
      return new Response(JSON.stringify(status("running", 2)), { headers: { "content-type": "application/json" } });
    }
    return fetched(uri, init);
  });
  await vi.advanceTimersByTimeAsync(1000);
  await model.stopRewrap();
  late();
  await vi.advanceTimersByTimeAsync(5000);
  expect(model.rewrap.value.value).toMatchObject({ state: "stopped", done: 3 });
  expect(model.looks.value).toBeNull();
  model.destroy();
});

test("a look that fails is not the end of looking; leaving the page is", async () => {
  answers[`POST ${REWRAP}`] = { body: status("running", 0) };
  answers[`GET ${REWRAP}`] = { status: 503, body: { code: "unavailable" } };
  const model = make();
  await model.startRewrap(null);
  expect(asked.at(-1)?.body).toEqual({});
  await vi.advanceTimersByTimeAsync(1000);
  expect(model.rewrap.value).toMatchObject({ value: { state: "running" }, problem: { code: "unavailable" } });
  answers[`GET ${REWRAP}`] = { body: status("running", 3) };
  await vi.advanceTimersByTimeAsync(4000);
  expect(model.rewrap.value).toMatchObject({ value: { done: 3 }, problem: null });
  model.destroy();
  const before = asked.length;
  await vi.advanceTimersByTimeAsync(10_000);
  expect(asked).toHaveLength(before);
});
