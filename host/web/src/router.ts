/* Addresses: which page, with which query. Not for: what the pages show. */
import { signal } from "@preact/signals";

export interface Place {
  path: string;
  query: URLSearchParams;
}

export const place = signal<Place>(here());

addEventListener("popstate", () => { place.value = here(); });

export function go(to: string, how: "push" | "replace" = "push"): void {
  if (how === "push") history.pushState(null, "", to);
  else history.replaceState(null, "", to);
  place.value = here();
  if (how === "push") scrollTo(0, 0);
}

/* For <a onClick>: plain clicks stay on the page, all others are the browser's. */
export function follow(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.currentTarget as HTMLAnchorElement;
  if (link.origin !== location.origin || link.target) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

export function recordingId(path: string): string | undefined {
  const match = /^\/recordings\/([^/]+)\/?$/.exec(path);
  if (!match) return undefined;
  try {
    return decodeURIComponent(match[1]!);
  } catch {
    return undefined;
  }
}

/* The address of a recording. Two organisations may use one id, so it names whose it is. */
export function recordingAddress(recording: { id: string; tenant: string }): string {
  return `/recordings/${encodeURIComponent(recording.id)}?${new URLSearchParams({ tenant: recording.tenant })}`;
}

/* Where to go after signing in. Only a path of our own: `//host` and `\` would leave. */
export function safeNext(next: string | null): string {
  if (!next || !/^\/(?![/\\])/.test(next) || next.includes("\\")) return "/";
  return next.startsWith("/sign-in") ? "/" : next;
}

function here(): Place {
  return { path: location.pathname, query: new URLSearchParams(location.search) };
}
