/* Forms from the schemas that plugins bring: the three of ours, and what a vendor's may hold. */
import { describe, expect, test } from "vitest";
import type { JsonSchema } from "../api/types";
import { configurationOf, faultsOf, fieldsOf, labelOf, valuesOf } from "./schema";

const LKM: JsonSchema = {
  type: "object", required: ["url", "apiId"],
  properties: {
    padding: { type: "string", enum: ["oaep-sha1", "oaep-sha256"], default: "oaep-sha1", title: "RSA padding" },
    url: { type: "string", format: "uri", maxLength: 40, title: "Decrypt URL", description: "https://…/decrypt" },
    apiId: { type: "string", minLength: 1, maxLength: 256 },
    payloadHash: { type: "boolean", default: false },
  },
};
const VENDOR: JsonSchema = {
  required: ["slot", "strict"],
  properties: {
    slot: { type: "integer", minimum: 0, maximum: 7 },
    ratio: { type: "number", default: 0.5 },
    strict: { type: "boolean" },
    mode: { enum: [1, 2, "auto"], default: "auto" },
    note: { type: ["string", "null"] },
    hosts: { type: "array", default: ["a"] },
    code: { type: "string", pattern: "^[A-Z]{3}$" },
  },
};

const field = (schema: JsonSchema, name: string) => fieldsOf(schema).find((each) => each.name === name)!;

describe("fields", () => {
  test("what is required comes first; kinds, labels, help and defaults follow the schema", () => {
    const fields = fieldsOf(LKM);
    expect(fields.map((each) => each.name)).toEqual(["url", "apiId", "padding", "payloadHash"]);
    expect(fields.map((each) => each.kind)).toEqual(["text", "text", "choice", "switch"]);
    expect(fields.map((each) => each.required)).toEqual([true, true, false, false]);
    expect(fields.map((each) => each.label)).toEqual(["Decrypt URL", "API ID", "RSA padding", "Payload hash"]);
    expect(fields[0]!.help).toBe("https://…/decrypt");
    expect(fields.map((each) => each.initial)).toEqual(["", "", "oaep-sha1", false]);
  });
  test("every kind that a vendor may use has a field", () => {
    expect(Object.fromEntries(fieldsOf(VENDOR).map((each) => [each.name, each.kind]))).toEqual({
      slot: "number", strict: "switch", ratio: "number", mode: "choice", note: "text", hosts: "json", code: "text",
    });
    expect(field(VENDOR, "mode").options.map((each) => each.value)).toEqual(["1", "2", "auto"]);
  });
  test("a provider without settings has no fields", () => {
    expect(fieldsOf({ type: "object", additionalProperties: false } as JsonSchema)).toEqual([]);
  });
});

describe("what is sent", () => {
  test("defaults that nobody chose stay the plugin's", () => {
    const fields = fieldsOf(LKM);
    const values = { ...valuesOf(fields, {}), url: " https://keys.example/d ", apiId: "acme" };
    expect(configurationOf(fields, values, {})).toEqual({ url: "https://keys.example/d", apiId: "acme" });
    expect(configurationOf(fields, { ...values, padding: "oaep-sha256", payloadHash: true }, {}))
      .toEqual({ url: "https://keys.example/d", apiId: "acme", padding: "oaep-sha256", payloadHash: true });
  });
  test("what was configured is shown, and stays unless it is changed", () => {
    const fields = fieldsOf(LKM);
    const before = { url: "https://keys.example/d", apiId: "acme", padding: "oaep-sha1", payloadHash: true, extra: [1] };
    const values = valuesOf(fields, before);
    expect(values).toEqual({ url: "https://keys.example/d", apiId: "acme", padding: "oaep-sha1", payloadHash: true });
    expect(configurationOf(fields, values, before)).toEqual(before);
    expect(configurationOf(fields, { ...values, payloadHash: false }, before)).toEqual({ ...before, payloadHash: false });
  });
  test("an emptied field is taken out", () => {
    const fields = fieldsOf(VENDOR);
    const before = { slot: 1, strict: true, note: "x" };
    expect(configurationOf(fields, { ...valuesOf(fields, before), note: "" }, before)).toEqual({ slot: 1, strict: true });
  });
  test("numbers, switches, choices and JSON go as what they are", () => {
    const fields = fieldsOf(VENDOR);
    const values = { ...valuesOf(fields, {}), slot: "3", mode: "2", hosts: '["a","b"]' };
    expect(configurationOf(fields, values, {})).toEqual({ slot: 3, strict: false, mode: 2, hosts: ["a", "b"] });
  });
});

describe("faults", () => {
  const fault = (schema: JsonSchema, name: string, value: string) => {
    const fields = fieldsOf(schema);
    return faultsOf(fields, { ...valuesOf(fields, {}), [name]: value })[name];
  };
  test("required fields only", () => {
    expect(Object.keys(faultsOf(fieldsOf(LKM), valuesOf(fieldsOf(LKM), {})))).toEqual(["url", "apiId"]);
    expect(Object.keys(faultsOf(fieldsOf(VENDOR), valuesOf(fieldsOf(VENDOR), {})))).toEqual(["slot"]);
  });
  test.each([
    [LKM, "url", "keys.example", /not an address/], [LKM, "url", `https://keys.example/${"x".repeat(40)}`, /At most 40/],
    [LKM, "url", "https://keys.example/d", undefined], [VENDOR, "slot", "8", /7 or less/], [VENDOR, "slot", "-1", /0 or more/],
    [VENDOR, "slot", "1.5", /whole/], [VENDOR, "slot", "one", /not a number/], [VENDOR, "slot", "7", undefined],
    [VENDOR, "ratio", "0.25", undefined], [VENDOR, "hosts", "[1", /not JSON/], [VENDOR, "code", "abc", /form/],
    [VENDOR, "code", "ABC", undefined], [VENDOR, "note", "", undefined],
  ])("%#: %s %s → %s", (schema, name, value, expected) => {
    if (expected) expect(fault(schema, name, value)).toMatch(expected);
    else expect(fault(schema, name, value)).toBeUndefined();
  });
  test("a pattern that browsers cannot read is left to the plugin", () => {
    expect(fault({ properties: { x: { type: "string", pattern: "(?i)a(" } } }, "x", "b")).toBeUndefined();
  });
});

test.each([["api-key", "API key"], ["keyArn", "Key ARN"], ["client_secret", "Client secret"], ["pin", "PIN"]])(
  "%s → %s", (name, label) => expect(labelOf(name)).toBe(label));
