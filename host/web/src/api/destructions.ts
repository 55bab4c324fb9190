/* Crypto-shredding, as the server has it. For administrators. */
import { json } from "./client";
import type { Destruction, DestructionPreview, DestructionScope } from "./types";

export async function list(tenant: string, signal?: AbortSignal): Promise<Destruction[]> {
  return (await json<{ entities: Destruction[] }>("GET", of(tenant), undefined, signal)).entities;
}

/* What has to be typed. Changes nothing. */
export function preview(tenant: string, scope: DestructionScope): Promise<DestructionPreview> {
  return json("POST", of(tenant, "/preview"), { scope });
}

export function request(tenant: string, scope: DestructionScope, confirm: string, reason: string): Promise<Destruction> {
  return json("POST", of(tenant), { scope, confirm, reason });
}

export function decide(tenant: string, id: string, step: "confirm" | "cancel" | "resume"): Promise<Destruction> {
  return json("POST", of(tenant, `/${encodeURIComponent(id)}/${step}`));
}

export function certificate(tenant: string, id: string): string {
  return of(tenant, `/${encodeURIComponent(id)}/certificate`);
}

function of(tenant: string, below = ""): string {
  return `/api/v1/tenants/${encodeURIComponent(tenant)}/destructions${below}`;
}
