/* The audit page's filters, pages and words. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { auditQuery, exportUri, NO_AUDIT_FILTERS } from "../api/audit";
import { AuditModel, filtersFrom } from "./audit-model";
import { ACTIONS, actionName, fieldName, fieldText, instantOf, localMinute, outcomeKind } from "./words";

const filters = { ...NO_AUDIT_FILTERS, tenant: "x&y", action: "key.retired", from: "2026-11-22T10:00:00.000Z" };

afterEach(() => vi.unstubAllGlobals());

test("filters go into the address as they are, and come back out of it", () => {
  expect(auditQuery(filters).toString()).toBe("tenant=x%26y&action=key.retired&from=2026-11-22T10%3A00%3A00.000Z");
  expect(filtersFrom(auditQuery(filters))).toEqual(filters);
  expect(exportUri(filters)).toBe(`/api/v1/audit/export?${auditQuery(filters)}`);
  expect(exportUri({ ...NO_AUDIT_FILTERS, subject: "  " })).toBe("/api/v1/audit/export");
});

test("a minute of the reader's is an instant, and back", () => {
  const instant = instantOf("2026-11-22T11:39");
  expect(instant).toBe(new Date(2026, 10, 22, 11, 39).toISOString());
  expect(localMinute(instant)).toBe("2026-11-22T11:39");
  expect([instantOf(""), instantOf("2026-11"), instantOf("2026-99-99T11:39"), localMinute(""), localMinute("soon")]).toEqual(["", "", "", "", ""]);
});

describe("words", () => {
  test("every known action has its own words; an unknown one is shown as it is", () => {
    const names = ACTIONS.flatMap(({ actions }) => actions.map(([action]) => actionName(action)));
    expect(new Set(names).size).toBe(names.length);
    expect(actionName("new.thing")).toBe("new.thing");
  });
  test.each([["ok", "good"], ["cut", "note"], ["denied", "bad"], ["", "bad"]])("%j is %s", (outcome, kind) => expect(outcomeKind(outcome)).toBe(kind));
  test.each([["requestId", "Request id"], ["kek", "Key"], ["cut_plays", "Cut plays"], ["latencyMs", "Latency ms"]])(
    "%s → %s", (name, words) => expect(fieldName(name)).toBe(words));
  test.each([["text", "text"], [8, "8"], [null, "null"], [true, "true"], [["a"], '[\n  "a"\n]']])(
    "%j as text", (value, text) => expect(fieldText(value)).toBe(text));
});

describe("pages", () => {
  const entry = (id: string) => ({ id, at: "2026-11-22T10:39:16Z", action: "play.started", tenant: "t", subject: "s", recording: null, outcome: "ok", fields: {}, seq: 1, hash: null });
  const serve = (answer: (uri: string) => unknown) => {
    vi.stubGlobal("location", { origin: "https://keyreel.example" });
    vi.stubGlobal("fetch", async (uri: string) => new Response(JSON.stringify(answer(uri)), { headers: { "content-type": "application/json" } }));
  };

  test("later pages are added below, and nothing twice", async () => {
    const asked: string[] = [];
    serve((uri) => {
      asked.push(uri);
      return uri.includes("cursor") ? { entities: [entry("b"), entry("c")], nextUri: null } : { entities: [entry("a"), entry("b")], nextUri: "/api/v1/audit?cursor=1" };
    });
    const model = new AuditModel();
    await model.show(filters);
    expect(asked[0]).toBe(`/api/v1/audit?${auditQuery(filters)}&limit=50`);
    await model.more();
    expect(model.entries.value).toMatchObject({ state: "idle", next: null });
    expect(model.entries.value.rows.map((row) => row.id)).toEqual(["a", "b", "c"]);
    await model.more();
    expect(asked).toHaveLength(2);
  });

  test("of two questions the later is answered, whichever answer comes first", async () => {
    let late: (value: unknown) => void = () => undefined;
    vi.stubGlobal("location", { origin: "https://keyreel.example" });
    vi.stubGlobal("fetch", async (uri: string) => {
      const body = uri.includes("slow") ? await new Promise((done) => { late = done; }) : { entities: [entry("fast")], nextUri: null };
      return new Response(JSON.stringify(body), { headers: { "content-type": "application/json" } });
    });
    const model = new AuditModel();
    const slow = model.show({ ...NO_AUDIT_FILTERS, subject: "slow" });
    await model.show(NO_AUDIT_FILTERS);
    late({ entities: [entry("slow")], nextUri: null });
    await slow;
    expect(model.entries.value.rows.map((row) => row.id)).toEqual(["fast"]);
  });
});
