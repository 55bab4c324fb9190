/* Times, dates and names as people read them, and as a screen reader speaks them.
   Not for: anything that depends on state. */

/* 83.5 → "1:23", 3723 → "1:02:03". `tenths` adds ".5". */
export function clock(seconds: number, tenths: "tenths" | "whole" = "whole"): string {
  const safe = Number.isFinite(seconds) ? Math.max(0, seconds) : 0;
  const scaled = tenths === "tenths" ? Math.floor(safe * 10 + 1e-6) / 10 : Math.floor(safe + 1e-6);
  const hours = Math.floor(scaled / 3600);
  const minutes = Math.floor((scaled % 3600) / 60);
  const rest = scaled % 60;
  const whole = String(Math.floor(rest + 1e-6)).padStart(2, "0");
  const fraction = tenths === "tenths" ? `.${Math.round((rest % 1) * 10) % 10}` : "";
  const body = hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}` : String(minutes);
  return `${body}:${whole}${fraction}`;
}

/* 83 → "1 minute 23 seconds". */
export function spoken(seconds: number): string {
  const safe = Number.isFinite(seconds) ? Math.max(0, Math.floor(seconds + 1e-6)) : 0;
  const parts = [
    count(Math.floor(safe / 3600), "hour"),
    count(Math.floor((safe % 3600) / 60), "minute"),
    count(safe % 60, "second"),
  ].filter((part) => part !== "");
  return parts.length > 0 ? parts.join(" ") : "0 seconds";
}

export function spokenPosition(seconds: number, duration: number): string {
  return `${spoken(seconds)} of ${spoken(duration)}`;
}

/* The `t` of a link: seconds as 83.5, or 1m23s, or 1:23. */
export function parseTime(text: string | null): number | undefined {
  if (!text) return undefined;
  const value = text.trim();
  if (/^\d+(\.\d+)?s?$/.test(value)) return Number.parseFloat(value);
  const units = /^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?$/.exec(value);
  if (units && value !== "") {
    return Number(units[1] ?? 0) * 3600 + Number(units[2] ?? 0) * 60 + Number(units[3] ?? 0);
  }
  const colons = /^(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)$/.exec(value);
  if (colons) return Number(colons[1] ?? 0) * 3600 + Number(colons[2]) * 60 + Number(colons[3]);
  return undefined;
}

/* The shortest form that `parseTime` reads back to within a tenth. */
export function linkTime(seconds: number): string {
  return String(Math.round(Math.max(0, seconds) * 10) / 10);
}

const dayFormat = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const momentFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const longFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export function day(time: string): string {
  return formatOr(dayFormat, time);
}

export function timeOfDay(time: string): string {
  return formatOr(timeFormat, time);
}

export function longDate(time: string): string {
  return formatOr(longFormat, time);
}

/* An instant in the reader's own zone, to the second. */
export function moment(time: string): string {
  return formatOr(momentFormat, time);
}

/* The same instant for everybody: "2026-11-22 10:39:16 UTC", with milliseconds where it has any. */
export function utc(time: string): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return time;
  return `${date.toISOString().replace("T", " ").replace(/(\.000)?Z$/, "")} UTC`;
}

export function counted(number: number, unit: string): string {
  return `${number.toLocaleString()} ${unit}${number === 1 ? "" : "s"}`;
}

export function bytes(size: number): string {
  const units = ["bytes", "kB", "MB", "GB"];
  let value = size;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export function providerName(provider: string): string {
  switch (provider) {
    case "managed": return "Managed by Keyreel";
    case "lkm": return "Local Key Manager";
    case "aws-kms": return "AWS KMS";
    default: return provider;
  }
}

export function algorithmName(algorithm: string): string {
  switch (algorithm) {
    case "rsa-oaep-sha256": return "RSA-OAEP, SHA-256";
    case "rsa-oaep-sha1": return "RSA-OAEP, SHA-1";
    case "hpke-mlkem1024-p384": return "HPKE, ML-KEM-1024 with P-384";
    default: return algorithm;
  }
}

export function algorithmStrength(algorithm: string): "post-quantum" | "legacy" | "standard" {
  if (algorithm.startsWith("hpke-mlkem")) return "post-quantum";
  return algorithm === "rsa-oaep-sha1" ? "legacy" : "standard";
}

export function policyName(policy: string): string {
  switch (policy) {
    case "aes256": return "AES-256 strength throughout";
    case "compatible": return "Compatible (RSA-3072)";
    default: return policy;
  }
}

export function mediaName(media: string): string {
  switch (media) {
    case "call": return "Call";
    case "chat": return "Chat";
    case "email": return "E-mail";
    case "message": return "Message";
    case "screen": return "Screen";
    default: return media;
  }
}

export function roleName(role: string): string {
  return role === "" ? "Speaker" : role.charAt(0).toUpperCase() + role.slice(1);
}

export function spanName(reason: string): string {
  switch (reason) {
    case "SecurePause": return "Secure pause";
    case "FlowOrQueue": return "Menu or queue";
    default: return reason;
  }
}

/* What to call a recording that nobody gave a subject. */
export function titleOf(recording: { subject?: string | null; media: string; queue?: string | null }) {
  return recording.subject || [mediaName(recording.media), recording.queue].filter(Boolean).join(" · ");
}

function count(number: number, unit: string): string {
  if (number === 0) return "";
  return `${number} ${unit}${number === 1 ? "" : "s"}`;
}

function formatOr(format: Intl.DateTimeFormat, time: string): string {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : format.format(date);
}
