/* What the audit log's actions and outcomes are, in words; days and minutes of the reader as
   instants. An action that is not known here is shown as it is. */
export const ACTIONS: { group: string; actions: [action: string, words: string][] }[] = [
  { group: "Playing", actions: [
    ["grant.created", "Playback allowed"],
    ["play.started", "Play started"],
    ["play.ended", "Play ended"],
    ["integrity.failed", "Damage found"],
  ] },
  { group: "Recordings", actions: [
    ["recording.sealed", "Recording sealed"],
    ["recording.sealed.read", "Sealed file read"],
  ] },
  { group: "Opening keys", actions: [
    ["key.unwrap.requested", "Key asked for"],
    ["key.unwrapped", "Key opened"],
    ["key.unwrap.refused", "Key refused"],
  ] },
  { group: "Administering keys", actions: [
    ["key.minted", "Key made"],
    ["key.registered", "Key registered"],
    ["key.rotated", "Key rotated"],
    ["key.rotation.failed", "Rotation failed"],
    ["key.rotation.met", "Rotation not needed"],
    ["key.schedule.changed", "Schedule changed"],
    ["key.disabled", "Key disabled"],
    ["key.enabled", "Key enabled"],
    ["key.retire.requested", "Retiring asked for"],
    ["key.retired", "Key retired"],
    ["recovery.set.requested", "Recovery key asked for"],
    ["recovery.set", "Recovery key set"],
    ["recovery.remove.requested", "Removal of recovery key asked for"],
    ["recovery.removed", "Recovery key removed"],
    ["keys.purged", "Key caches emptied"],
    ["tenant.policy.changed", "Policy changed"],
    ["key.configuration.created", "Key provider set"],
    ["key.configuration.changed", "Key provider changed"],
    ["key.configuration.tried", "Key provider tried"],
  ] },
  { group: "Re-wrapping", actions: [
    ["keys.rewrap.started", "Re-wrap started"],
    ["keys.rewrap.stopped", "Re-wrap stopped"],
    ["keys.rewrap.ended", "Re-wrap ended"],
    ["key.rewrapped", "Recording re-wrapped"],
    ["key.rewrap.failed", "Recording not re-wrapped"],
  ] },
  { group: "Destroying", actions: [
    ["destruction.requested", "Destruction asked for"],
    ["destruction.confirmed", "Destruction confirmed"],
    ["destruction.cancelled", "Destruction called off"],
    ["destruction.halted", "Destruction halted"],
    ["destruction.resumed", "Destruction resumed"],
    ["destruction.done", "Destroyed"],
    ["keystore.rekeyed", "Keystore rekeyed"],
  ] },
  { group: "Signing in", actions: [
    ["session.created", "Signed in"],
    ["session.refused", "Sign-in refused"],
    ["session.ended", "Signed out"],
  ] },
  { group: "Who may do what", actions: [
    ["tenant.added", "Tenant added"],
    ["account.added", "Account added"],
    ["account.password.changed", "Password changed"],
    ["account.removed", "Account removed"],
    ["token.added", "Token added"],
    ["token.revoked", "Token revoked"],
  ] },
];

/* What an outcome most often is; the log may hold others. */
export const OUTCOMES = [
  "ok", "cut", "denied", "key-denied", "key-disabled", "key-not-found", "not-found", "unauthenticated", "integrity", "bad-request",
  "conflict", "in-use", "current", "unavailable", "throttled", "timeout", "circuit-open", "config", "internal",
];

export function actionName(action: string): string {
  return NAMES.get(action) ?? action;
}

/* How an outcome is marked: by word and by colour. */
export function outcomeKind(outcome: string): "good" | "note" | "bad" {
  if (outcome === "ok") return "good";
  return outcome === "cut" ? "note" : "bad";
}

/* The value of a field, on a line or, where it is more than that, as JSON to read. */
export function fieldText(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === null || typeof value !== "object") return String(value);
  return JSON.stringify(value, null, 2);
}

/* "requestId" → "Request id". */
export function fieldName(name: string): string {
  if (name === "kek") return "Key";
  const words = name.replace(/([a-z0-9])([A-Z])/g, (_, end: string, begin: string) => `${end} ${begin.toLowerCase()}`).replace(/[._-]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/* What stands in a field for a date and a time, in the reader's zone: "2026-11-22T11:39". */
export function localMinute(instant: string): string {
  const date = new Date(instant);
  if (instant === "" || Number.isNaN(date.getTime())) return "";
  const two = (number: number) => String(number).padStart(2, "0");
  return `${String(date.getFullYear()).padStart(4, "0")}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

/* And back, as an instant. */
export function instantOf(local: string): string {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(local)) return "";
  const date = new Date(local);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

const NAMES = new Map(ACTIONS.flatMap(({ actions }) => actions));
