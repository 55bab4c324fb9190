/* Keys and re-wrapping in words. */
import { describe, expect, test } from "vitest";
import type { RewrapStatus, TenantKeys } from "../api/types";
import { counted, moment, utc } from "../format";
import {
  configurationType, currentKey, isPrivateKey, isUuid, lossPhrase, olderRecordings, PERIODS, periodName, recoveryWaits, recoveryWords, rewrapWords,
  scopeIds, scopeName, stateMeaning, stateName, strengthName, timeLeft,
} from "./words";

const key = (id: string, state: string, recordings: number) => ({
  provider: "managed", id, state, recordings, wrapAlgorithm: "rsa-oaep-sha256", strengthBits: 128, legacy: false,
  dateCreated: "2026-11-22T10:39:14Z", configuration: null,
});
const keys: TenantKeys = {
  tenant: "t", policy: "compatible", provider: "managed", mintsKeks: true,
  keys: [key("kek/4", "current", 3), key("kek/3", "previous", 2), key("kek/2", "disabled", 5), key("kek/1", "retired", 9)],
};
const status = (change: Partial<RewrapStatus>): RewrapStatus => ({
  state: "running", total: 1200, done: 30, failed: 0, perSecond: null, startedAt: null, updatedAt: null, endedAt: null, lastError: null, failures: [], ...change,
});

test("older recordings are those that a re-wrap can move: not the current key's, not lost ones", () => {
  expect(olderRecordings(keys)).toBe(7);
  expect(currentKey(keys)?.id).toBe("kek/4");
  expect(currentKey({ ...keys, keys: keys.keys.slice(1) })).toBeUndefined();
});

test("the loss is typed as the server spells it, without separators", () => {
  expect(lossPhrase(12345)).toBe("lose 12345 recordings");
  expect(lossPhrase(1)).toBe("lose 1 recordings");
});

describe("re-wrapping", () => {
  test.each([
    [{}, `30 of ${counted(1200, "recording")} re-wrapped`],
    [{ failed: 2 }, `30 of ${counted(1200, "recording")} re-wrapped, 2 failed`],
    [{ state: "done", done: 1, total: 1 }, "Finished: 1 recording re-wrapped"],
    [{ state: "done", done: 9, total: 10, failed: 1 }, "Finished: 9 of 10 recordings re-wrapped, 1 failed"],
    [{ state: "stopped", done: 4, total: 10 }, "Stopped at 4 of 10 recordings"],
    [{ state: "failed", done: 4, total: 10 }, "Ended with recordings left: 4 of 10 recordings re-wrapped"],
    [{ state: "idle" }, "Not running"],
  ])("%j → %s", (change, words) => expect(rewrapWords(status(change))).toBe(words));
  const look = (seconds: number, handled: number) => ({ at: 1_000_000 + seconds * 1000, handled });
  test.each([
    [look(0, 0), look(0, 0), 100, ""], [look(0, 5), look(4, 5), 100, ""], [look(0, 0), look(10, 50), 100, "less than a minute left"],
    [look(0, 0), look(10, 10), 190, "about 3 minutes left"], [look(0, 0), look(10, 1), 1081, "about 3 hours left"],
    [look(0, 0), look(10, 200), 100, "less than a minute left"],
  ])("%#: how long it takes from two looks", (first, last, total, words) => expect(timeLeft(first, last, total)).toBe(words));
});

describe("the recovery key", () => {
  const key = { id: "a1", wrapAlgorithm: "rsa-oaep-sha256", strengthBits: 128, dateCreated: "2026-11-22T10:39:14Z" };
  const loss = "There is none: whoever loses the key that recordings are wrapped to loses the recordings.";
  test.each([
    [{ key: null, recordings: 4, lacking: 4, former: 0 }, 0, loss],
    [{ key: null, recordings: 4, lacking: 4, former: 1 }, 1, `${loss} 1 recording is still wrapped to a former recovery key; re-wrapping drops it.`],
    [{ key, recordings: 0, lacking: 0, former: 0 }, 0, "There are no recordings yet."],
    [{ key, recordings: 4, lacking: 0, former: 0 }, 0, "It opens all 4 recordings."],
    [{ key, recordings: 4, lacking: 3, former: 0 }, 3, "3 recordings of 4 lack it; re-wrapping takes them along."],
    [{ key, recordings: 4, lacking: 1, former: 1 }, 1,
      "1 recording of 4 lacks it; re-wrapping takes them along. 1 recording is still wrapped to a former recovery key; re-wrapping drops it."],
  ])("%#: how many recordings it opens, and what a re-wrap would do", (status, waits, words) => {
    expect(recoveryWaits(status)).toBe(waits);
    expect(recoveryWords(status)).toBe(words);
  });
});

test("what is to be destroyed is named, many recordings by their first", () => {
  const ids = ["r1", "r2", "r3", "r4", "r5", "r6", "r7"];
  expect([scopeName({ kind: "tenant" }), scopeIds({ kind: "tenant" })]).toEqual(["Everything", ""]);
  expect([scopeName({ kind: "recordings", ids: ["r1"] }), scopeIds({ kind: "recordings", ids: ["r1"] })]).toEqual(["Recording r1", ""]);
  expect(scopeIds({ kind: "recordings", ids: ids.slice(0, 5) })).toBe("r1, r2, r3, r4, r5");
  expect(scopeIds({ kind: "recordings", ids })).toBe("r1, r2, r3, r4, r5 and 2 more");
});

test("every period and state has words", () => {
  for (const period of PERIODS) expect(periodName(period)).not.toBe(period);
  for (const state of ["current", "previous", "disabled", "retired"]) expect(stateMeaning(state)).not.toBe("");
  expect([stateName("current"), strengthName(128), strengthName(256), periodName("HOURLY")]).toEqual(["Current", "128 bits", "256 bits", "HOURLY"]);
});

test("a private key is known as one, a UUID as one", () => {
  for (const kind of ["", "RSA ", "ENCRYPTED "]) expect(isPrivateKey(`-----BEGIN ${kind}PRIVATE KEY-----\nMII`)).toBe(true);
  expect(isPrivateKey("-----BEGIN PUBLIC KEY-----\nMII")).toBe(false);
  expect(isUuid(" 4B26322f-7a54-420e-89cb-bb8a7dbac812 ")).toBe(true);
  expect(isUuid("kek/1")).toBe(false);
});

test("providers by the names that the API of keys has for them", () => {
  expect(["managed", "lkm", "aws-kms", "acme"].map(configurationType)).toEqual(["Native", "LocalKeyManager", "KmsSymmetric", "Vendor"]);
});

test("instants: one for everybody, one for the reader", () => {
  expect(utc("2026-11-22T10:39:16.524Z")).toBe("2026-11-22 10:39:16.524 UTC");
  expect(utc("2026-11-22T11:39:16+01:00")).toBe("2026-11-22 10:39:16 UTC");
  expect(utc("never")).toBe("never");
  expect(moment("2026-11-22T10:39:16Z")).toBe(new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" }).format(new Date("2026-11-22T10:39:16Z")));
});
