/* Where signing in may lead, and which address is a recording's. */
import { expect, test, vi } from "vitest";

vi.stubGlobal("addEventListener", () => undefined);
vi.stubGlobal("location", { pathname: "/", search: "" });
const { recordingAddress, recordingId, safeNext } = await import("./router");

test.each([
  ["/recordings/1?t=2", "/recordings/1?t=2"], ["//evil.example", "/"], ["/\\evil.example", "/"], ["https://evil.example", "/"],
  ["/sign-in?next=/", "/"], [null, "/"], ["", "/"], ["recordings", "/"], ["/a\\b", "/"],
])("next %j → %s", (next, to) => expect(safeNext(next)).toBe(to));

test("a recording's address says whose it is", () => {
  const address = new URL(recordingAddress({ id: "a b", tenant: "x&y" }), "https://keyreel.example");
  expect(recordingId(address.pathname)).toBe("a b");
  expect(address.searchParams.get("tenant")).toBe("x&y");
});

test.each([["/recordings/abc", "abc"], ["/recordings/a%20b/", "a b"], ["/recordings/", undefined], ["/recordings/a/b", undefined], ["/recordings/%zz", undefined], ["/", undefined]])(
  "%s → %s", (path, id) => expect(recordingId(path)).toBe(id));
