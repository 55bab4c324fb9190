/* Who is signed in. Not for: what they may do, which is the server's to say. */
import { signal } from "@preact/signals";
import * as api from "../api/client";
import { Problem, problemFromError } from "../api/problem";
import type { Session } from "../api/types";
import { go } from "../router";

/* `undefined` until the server was asked. */
export const session = signal<Session | null | undefined>(undefined);
export const sessionProblem = signal<Problem | null>(null);

export async function restoreSession(): Promise<void> {
  sessionProblem.value = null;
  try {
    session.value = await api.session();
  } catch (error) {
    const problem = problemFromError(error);
    if (problem.code === "unauthenticated") session.value = null;
    else sessionProblem.value = problem;
  }
}

export async function signOut(): Promise<void> {
  try {
    await api.signOut();
  } finally {
    session.value = null;
    go("/sign-in");
  }
}

/* To the sign-in page and back to where we are. */
export function signInAgain(): void {
  session.value = null;
  const next = location.pathname + location.search;
  go(`/sign-in${next === "/" ? "" : `?next=${encodeURIComponent(next)}`}`, "replace");
}

export function tenantName(id: string): string {
  return session.value?.tenants.find((tenant) => tenant.id === id)?.name ?? id;
}
