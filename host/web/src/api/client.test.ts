/* Filters as the server gets them. */
import { expect, test } from "vitest";
import { recordingsUri, recordingUri } from "./client";

const none = { q: "", tenant: "", media: "", provider: "", from: "", to: "" };

test("empty filters are left out", () => {
  expect(recordingsUri({ ...none, q: "  " }, 50)).toBe("/api/v1/recordings?limit=50");
});

test("days are the listener's own, and the last is included", () => {
  const query = new URLSearchParams(recordingsUri({ ...none, from: "2026-11-03", to: "2026-11-03" }, 10).split("?")[1]);
  expect(query.get("from")).toBe(new Date(2026, 10, 3).toISOString());
  expect(query.get("to")).toBe(new Date(2026, 10, 4).toISOString());
});

test("a recording is named by its id, and by its organisation where the address has one", () => {
  expect(recordingUri({ id: "a/b", tenant: null })).toBe("/api/v1/recordings/a%2Fb");
  expect(recordingUri({ id: "r", tenant: "x&y" }, "/playback")).toBe("/api/v1/recordings/r/playback?tenant=x%26y");
});

test("half a date is no filter; text is escaped", () => {
  const query = new URLSearchParams(recordingsUri({ ...none, from: "2026-1", q: "a&b=c" }, 10).split("?")[1]);
  expect(query.has("from")).toBe(false);
  expect(query.get("q")).toBe("a&b=c");
});
