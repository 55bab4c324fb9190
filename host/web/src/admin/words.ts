/* Keys, schedules and re-wrapping in words. Not for: dates and algorithms, which other pages have as
   well (format.ts). */
import type { Destruction, DestructionScope, KeyVersion, RecoveryStatus, RewrapStatus, TenantKeys } from "../api/types";
import { counted } from "../format";

export const PERIODS = ["DISABLED", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"] as const;

export function periodName(period: string): string {
  switch (period) {
    case "DISABLED": return "Never by itself";
    case "DAILY": return "Every day";
    case "WEEKLY": return "Every week";
    case "MONTHLY": return "Every month";
    case "YEARLY": return "Every year";
    default: return period;
  }
}

export function stateName(state: string): string {
  return state.charAt(0).toUpperCase() + state.slice(1);
}

export function stateMeaning(state: string): string {
  switch (state) {
    case "current": return "Seals new recordings, opens its own";
    case "previous": return "Opens its recordings, seals none";
    case "disabled": return "Opens nothing until it is enabled";
    case "retired": return "Opens nothing, for good";
    default: return "";
  }
}

export function destructionState(state: string): string {
  switch (state) {
    case "requested": return "Waits to be confirmed";
    case "running": return "Being destroyed";
    case "halted": return "Halted";
    case "done": return "Destroyed";
    case "cancelled": return "Called off";
    default: return state;
  }
}

export function scopeName(scope: DestructionScope): string {
  switch (scope.kind) {
    case "tenant": return "Everything";
    case "key": return `Key ${scope.id} and its recordings`;
    case "recordings": return scope.ids.length === 1 ? `Recording ${scope.ids[0]}` : counted(scope.ids.length, "recording");
  }
}

/* The first of them by name: who confirms has to see what. */
export function scopeIds(scope: DestructionScope): string {
  if (scope.kind !== "recordings" || scope.ids.length < 2) return "";
  const more = scope.ids.length - IDS_SHOWN;
  return scope.ids.slice(0, IDS_SHOWN).join(", ") + (more > 0 ? ` and ${more.toLocaleString()} more` : "");
}

const IDS_SHOWN = 5;

/* Whether all that the organisation had is gone, or going. */
export function destroyed(all: Destruction[]): boolean {
  return all.some((each) => each.scope.kind === "tenant" && (each.state === "done" || each.state === "running" || each.state === "halted"));
}

export function strengthName(bits: number): string {
  return bits >= 256 ? "256 bits" : `${bits} bits`;
}

/* Who keeps the private key, and what that means for playing. */
export function custody(provider: string, name: string): string {
  switch (provider) {
    case "managed":
      return "Keyreel makes the key pairs and keeps the private keys, each sealed under a key of its own.";
    case "lkm":
      return "Your Local Key Manager keeps the private keys. Keyreel asks it for every recording's key; when it says no, nothing plays.";
    case "aws-kms":
      return "Your AWS KMS key seals the private keys. Without it, nothing plays.";
    default:
      return `The key service behind ${name} opens every recording's key; when it says no, nothing plays.`;
  }
}

/* What the server wants typed before recordings are given up. */
export function lossPhrase(recordings: number): string {
  return `lose ${recordings} recordings`;
}

export function currentKey(keys: TenantKeys): KeyVersion | undefined {
  return keys.keys.find((key) => key.state === "current");
}

/* Recordings that a key other than the current one opens. */
export function olderRecordings(keys: TenantKeys): number {
  return keys.keys.filter((key) => key.state !== "current" && key.state !== "retired")
    .reduce((sum, key) => sum + (key.recordings ?? 0), 0);
}

/* How many recordings a re-wrap would take to the recovery key, or away from a former one. */
export function recoveryWaits(status: RecoveryStatus): number {
  return status.key ? status.lacking : status.former;
}

export function recoveryWords({ key, recordings, lacking, former }: RecoveryStatus): string {
  const are = (count: number) => `${counted(count, "recording")} ${count === 1 ? "is" : "are"}`;
  const dropped = former > 0 ? ` ${are(former)} still wrapped to a former recovery key; re-wrapping drops it.` : "";
  if (!key) return `There is none: whoever loses the key that recordings are wrapped to loses the recordings.${dropped}`;
  if (recordings === 0) return "There are no recordings yet.";
  if (lacking === 0) return `It opens all ${counted(recordings, "recording")}.`;
  return `${counted(lacking, "recording")} of ${recordings.toLocaleString()} ${lacking === 1 ? "lacks" : "lack"} it; re-wrapping takes them along.${dropped}`;
}

export function rewrapWords(status: RewrapStatus): string {
  const { done, failed, total } = status;
  const progress = `${done.toLocaleString()} of ${counted(total, "recording")}`;
  const failures = failed > 0 ? `, ${failed.toLocaleString()} failed` : "";
  switch (status.state) {
    case "running": return `${progress} re-wrapped${failures}`;
    case "done": return failed > 0 ? `Finished: ${progress} re-wrapped${failures}` : `Finished: ${counted(done, "recording")} re-wrapped`;
    case "stopped": return `Stopped at ${progress}${failures}`;
    case "failed": return `Ended with recordings left: ${progress} re-wrapped${failures}`;
    default: return "Not running";
  }
}

/* "about 3 minutes left", from how far it came between two looks. */
export function timeLeft(first: { at: number; handled: number }, last: { at: number; handled: number }, total: number): string {
  const seconds = (last.at - first.at) / 1000;
  const rate = (last.handled - first.handled) / seconds;
  if (!(seconds > 0) || !(rate > 0)) return "";
  const left = Math.max(0, total - last.handled) / rate;
  if (left < 60) return "less than a minute left";
  if (left < 3600) return `about ${counted(Math.round(left / 60), "minute")} left`;
  return `about ${counted(Math.round(left / 3600), "hour")} left`;
}

/* Somebody pasted the half that must never leave its owner. */
export function isPrivateKey(text: string): boolean {
  return /PRIVATE KEY/.test(text);
}

export function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text.trim());
}

/* What the API of keys calls a provider. */
export function configurationType(provider: string): string {
  switch (provider) {
    case "managed": return "Native";
    case "lkm": return "LocalKeyManager";
    case "aws-kms": return "KmsSymmetric";
    default: return "Vendor";
  }
}
