/* A provider's settings as fields of a form, from the JSON schema that its plugin brings, and back.
   What a schema can say beyond this is checked by the plugin when the settings are tried.
   Not for: drawing the fields (schema-form.tsx). */
import type { JsonSchema } from "../api/types";

export type FieldKind = "text" | "choice" | "switch" | "number" | "json";

export interface Field {
  name: string;
  label: string;
  help: string;
  kind: FieldKind;
  required: boolean;
  /* As it stands in the field: text, or whether the switch is on. */
  initial: Value;
  options: { value: string; given: unknown }[];
  schema: JsonSchema;
}

export type Value = string | boolean;
export type Values = Record<string, Value>;

export function fieldsOf(schema: JsonSchema): Field[] {
  const required = new Set(schema.required ?? []);
  const fields = Object.entries(schema.properties ?? {}).map(([name, property]): Field => {
    const kind = kindOf(property);
    return {
      name, kind, schema: property,
      label: property.title || labelOf(name),
      help: property.description ?? "",
      required: required.has(name),
      initial: shown(kind, property.default),
      options: kind === "choice" ? (property.enum ?? []).map((given) => ({ value: String(given), given })) : [],
    };
  });
  // What must be said comes first; within that, as the plugin's author has it.
  return [...fields.filter((field) => field.required), ...fields.filter((field) => !field.required)];
}

/* What stands in the fields: what is configured, else the defaults. */
export function valuesOf(fields: Field[], configuration: Record<string, unknown>): Values {
  return Object.fromEntries(fields.map((field) => [
    field.name, field.name in configuration ? shown(field.kind, configuration[field.name]) : field.initial,
  ]));
}

/* What is sent. A default that nobody chose is left out, so that it stays the plugin's to say; what
   the schema does not know is kept as it was. Call it only where `faultsOf` finds none. */
export function configurationOf(fields: Field[], values: Values, before: Record<string, unknown>): Record<string, unknown> {
  const configuration: Record<string, unknown> = { ...before };
  for (const field of fields) {
    const value = values[field.name] ?? field.initial;
    const untouched = value === field.initial && !(field.name in before);
    const empty = value === "";
    if (empty || (untouched && !field.required)) delete configuration[field.name];
    else configuration[field.name] = given(field, value);
  }
  return configuration;
}

/* What is wrong, by the field's name, in words. */
export function faultsOf(fields: Field[], values: Values): Record<string, string> {
  const faults: Record<string, string> = {};
  for (const field of fields) {
    const fault = faultOf(field, values[field.name] ?? field.initial);
    if (fault) faults[field.name] = fault;
  }
  return faults;
}

/* "api-key" → "API key". */
export function labelOf(name: string): string {
  const words = name.replace(/([a-z0-9])([A-Z])/g, "$1 $2").split(/[\s_.-]+/).filter(Boolean)
    .map((word) => ACRONYMS.has(word.toLowerCase()) ? word.toUpperCase() : word.toLowerCase());
  const text = words.join(" ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function faultOf({ kind, required, schema, label }: Field, value: Value): string | undefined {
  if (typeof value === "boolean") return undefined;
  if (value.trim() === "") return required ? `${label} is needed.` : undefined;
  if (kind === "number") return numberFault(schema, value);
  if (kind === "json") return isJson(value) ? undefined : "This is not JSON.";
  if (kind !== "text") return undefined;
  const { minLength, maxLength, pattern, format } = schema;
  const length = [...value].length;
  if (minLength !== undefined && length < minLength) return `At least ${minLength} characters are needed.`;
  if (maxLength !== undefined && length > maxLength) return `At most ${maxLength} characters are possible.`;
  if (format === "uri" && !URL.canParse(value)) return "This is not an address; it begins with https://.";
  if (pattern !== undefined && !matches(pattern, value)) return `This does not have the form that ${label} has.`;
  return undefined;
}

function numberFault(schema: JsonSchema, value: string): string | undefined {
  const number = Number(value);
  if (!Number.isFinite(number)) return "This is not a number.";
  if (typeOf(schema) === "integer" && !Number.isInteger(number)) return "A whole number is needed.";
  if (schema.minimum !== undefined && number < schema.minimum) return `It must be ${schema.minimum} or more.`;
  if (schema.maximum !== undefined && number > schema.maximum) return `It must be ${schema.maximum} or less.`;
  return undefined;
}

function kindOf(schema: JsonSchema): FieldKind {
  if (schema.enum) return "choice";
  switch (typeOf(schema)) {
    case "boolean": return "switch";
    case "integer": case "number": return "number";
    case "string": return "text";
    default: return "json";
  }
}

/* ["string", "null"] is a string that may be left out. */
function typeOf(schema: JsonSchema): string | undefined {
  return Array.isArray(schema.type) ? schema.type.find((type) => type !== "null") : schema.type;
}

function shown(kind: FieldKind, value: unknown): Value {
  if (kind === "switch") return value === true;
  if (value === undefined || value === null) return "";
  return kind === "json" ? JSON.stringify(value) : String(value);
}

function given(field: Field, value: Value): unknown {
  if (typeof value === "boolean") return value;
  switch (field.kind) {
    case "number": return Number(value);
    case "json": return JSON.parse(value) as unknown;
    case "choice": return field.options.find((option) => option.value === value)?.given ?? value;
    default: return value.trim();
  }
}

function matches(pattern: string, value: string): boolean {
  try {
    return new RegExp(pattern, "u").test(value.trim());
  } catch {
    // A pattern that browsers do not read is the plugin's to apply.
    return true;
  }
}

function isJson(value: string): boolean {
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}

const ACRONYMS = new Set(["api", "id", "url", "uri", "pin", "arn", "tls", "hmac", "kms", "hsm", "pem"]);
