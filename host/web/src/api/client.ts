/* The one place that talks to the server. Typed, same-origin, cookie-authenticated; every failure
   is a `Problem`. Not for: caching or state (state/). */
import { Problem, problemFromResponse } from "./problem";
import type {
  Grant, Page, Recording, RecordingSummary, Session, Transcript, WaveformData,
} from "./types";

export type Credentials = { name: string; password: string } | { link: string };

export function session(): Promise<Session> {
  return json("GET", "/api/v1/session");
}

export function signIn(credentials: Credentials): Promise<Session> {
  return json("POST", "/api/v1/session", credentials);
}

export async function signOut(): Promise<void> {
  await send("DELETE", "/api/v1/session");
}

export interface RecordingFilters {
  q: string;
  tenant: string;
  media: string;
  provider: string;
  /* Days in the listener's own time zone: 2026-11-03. */
  from: string;
  to: string;
}

export function recordings(
  filters: RecordingFilters, limit: number, signal?: AbortSignal,
): Promise<Page<RecordingSummary>> {
  return json("GET", recordingsUri(filters, limit), undefined, signal);
}

/* Days become instants at the listener's midnights; `to` is inclusive as people read it. */
export function recordingsUri(filters: RecordingFilters, limit: number): string {
  const query = new URLSearchParams({ limit: String(limit) });
  for (const name of ["q", "tenant", "media", "provider"] as const) {
    const value = filters[name].trim();
    if (value) query.set(name, value);
  }
  const from = midnight(filters.from, 0);
  const to = midnight(filters.to, 1);
  if (from) query.set("from", from);
  if (to) query.set("to", to);
  return `/api/v1/recordings?${query}`;
}

/* A later page. The address comes from the server, but is held to its own API all the same. */
export function nextPage<T = RecordingSummary>(uri: string, signal?: AbortSignal): Promise<Page<T>> {
  const url = new URL(uri, location.origin);
  if (url.origin !== location.origin) throw new Problem({ code: "internal", status: 0 });
  return json("GET", url.pathname + url.search, undefined, signal);
}

/* Which recording: `tenant` where the address says whose it is, since an id may be used by several. */
export interface Named {
  id: string;
  tenant: string | null;
}

export function recording(named: Named, signal?: AbortSignal): Promise<Recording> {
  return json("GET", recordingUri(named), undefined, signal);
}

export function playback(named: Named, signal?: AbortSignal): Promise<Grant> {
  return json("POST", recordingUri(named, "/playback"), undefined, signal);
}

export function recordingUri({ id, tenant }: Named, below = ""): string {
  const query = tenant ? `?${new URLSearchParams({ tenant })}` : "";
  return `/api/v1/recordings/${encodeURIComponent(id)}${below}${query}`;
}

export function waveform(uri: string, signal?: AbortSignal): Promise<WaveformData> {
  return json("GET", uri, undefined, signal);
}

export function transcript(uri: string, signal?: AbortSignal): Promise<Transcript> {
  return json("GET", uri, undefined, signal);
}

/* Asks for one byte, to learn in words why a media element failed: it tells nothing itself. */
export async function probeMedia(uri: string, at: number, signal?: AbortSignal): Promise<void> {
  const response = await request("GET", uri, { range: `bytes=${at}-${at}` }, undefined, signal);
  await response.body?.cancel();
}

/* For the parts of the API that have a file of their own beside this one. */
export async function json<T>(
  method: string, uri: string, body?: unknown, signal?: AbortSignal,
): Promise<T> {
  const response = await send(method, uri, body, signal);
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem({ code: "media", status: response.status, title: "An answer was cut short" });
  }
}

function send(method: string, uri: string, body?: unknown, signal?: AbortSignal) {
  const headers: Record<string, string> = { accept: "application/json" };
  if (method !== "GET") headers["x-keyreel"] = "1";
  if (body !== undefined) headers["content-type"] = "application/json";
  return request(method, uri, headers, body, signal);
}

async function request(
  method: string, uri: string, headers: Record<string, string>, body: unknown,
  signal: AbortSignal | undefined,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(uri, {
      method, headers, signal: signal ?? null, credentials: "same-origin", redirect: "error",
      cache: "no-store", body: body === undefined ? null : JSON.stringify(body),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem({ code: "offline", status: 0, title: "No connection" });
  }
  if (!response.ok) throw await problemFromResponse(response);
  return response;
}

function midnight(day: string, plusDays: number): string | undefined {
  const match = /^(\d{4})-(\d\d)-(\d\d)$/.exec(day);
  if (!match) return undefined;
  return new Date(Number(match[1]), Number(match[2]) - 1, Number(match[3]) + plusDays).toISOString();
}
