/* A tenant's keys over their life, as the server has them. For its administrators.
   Not for: what the page makes of them (admin/keys-model.ts). */
import { json } from "./client";
import type {
  EncryptionKey, KeyConfiguration, KeyConfigurationInput, KeyName, KeyProvider, Listing, LocalKeyInput, Period, Purged,
  RecoveryStatus, RewrapStatus, RotationSchedule, TenantKeys,
} from "./types";

export function keys(tenant: string, signal?: AbortSignal): Promise<TenantKeys> {
  return json("GET", ofTenant(tenant), undefined, signal);
}

export async function providers(tenant: string, signal?: AbortSignal): Promise<KeyProvider[]> {
  return (await json<{ entities: KeyProvider[] }>("GET", ofTenant(tenant, "/providers"), undefined, signal)).entities;
}

export async function configurations(tenant: string, signal?: AbortSignal): Promise<KeyConfiguration[]> {
  const uri = recording("keyconfigurations", tenant, { pageSize: "200" });
  return (await json<Listing<KeyConfiguration>>("GET", uri, undefined, signal)).entities;
}

/* Asks the key service how it fares; the server asks at most every ten seconds. */
export function configuration(tenant: string, id: string, signal?: AbortSignal): Promise<KeyConfiguration> {
  return json("GET", recording(`keyconfigurations/${encodeURIComponent(id)}`, tenant), undefined, signal);
}

/* Tries a configuration; nothing is saved. */
export function validate(tenant: string, input: KeyConfigurationInput): Promise<KeyConfiguration> {
  return json("POST", recording("keyconfigurations/validate", tenant), input);
}

/* A new configuration, or with an id a changed one. */
export function saveConfiguration(tenant: string, id: string | null, input: KeyConfigurationInput): Promise<KeyConfiguration> {
  return id === null
    ? json("POST", recording("keyconfigurations", tenant), input)
    : json("PUT", recording(`keyconfigurations/${encodeURIComponent(id)}`, tenant), input);
}

export function rotate(tenant: string): Promise<EncryptionKey> {
  return json("POST", recording("recordingkeys", tenant), {});
}

export function registerLocalKey(tenant: string, input: LocalKeyInput): Promise<EncryptionKey> {
  return json("POST", recording("localkeys", tenant), input);
}

export function schedule(tenant: string, signal?: AbortSignal): Promise<RotationSchedule> {
  return json("GET", recording("recordingkeys/rotationschedule", tenant), undefined, signal);
}

export function setSchedule(tenant: string, period: Period): Promise<RotationSchedule> {
  return json("PUT", recording("recordingkeys/rotationschedule", tenant), { period });
}

export function setPolicy(tenant: string, policy: string): Promise<EncryptionKey> {
  return json("POST", ofTenant(tenant, "/policy"), { policy });
}

export function rewrap(tenant: string, signal?: AbortSignal): Promise<RewrapStatus> {
  return json("GET", ofTenant(tenant, "/rewrap"), undefined, signal);
}

export function startRewrap(tenant: string, perSecond: number | null): Promise<RewrapStatus> {
  return json("POST", ofTenant(tenant, "/rewrap"), perSecond === null ? {} : { perSecond });
}

export function stopRewrap(tenant: string): Promise<RewrapStatus> {
  return json("DELETE", ofTenant(tenant, "/rewrap"));
}

export function recovery(tenant: string, signal?: AbortSignal): Promise<RecoveryStatus> {
  return json("GET", ofTenant(tenant, "/recovery"), undefined, signal);
}

export function setRecovery(tenant: string, publicKey: string): Promise<RecoveryStatus> {
  return json("PUT", ofTenant(tenant, "/recovery"), { publicKey });
}

export function removeRecovery(tenant: string): Promise<RecoveryStatus> {
  return json("DELETE", ofTenant(tenant, "/recovery"));
}

export function disable(tenant: string, key: KeyName): Promise<EncryptionKey> {
  return json("POST", ofTenant(tenant, "/disable"), nameOf(key));
}

export function enable(tenant: string, key: KeyName): Promise<EncryptionKey> {
  return json("POST", ofTenant(tenant, "/enable"), nameOf(key));
}

/* `confirm` names the loss where recordings still need the key. */
export function retire(tenant: string, key: KeyName, confirm: string | null): Promise<EncryptionKey> {
  return json("POST", ofTenant(tenant, "/retire"), confirm === null ? nameOf(key) : { ...nameOf(key), confirm });
}

export function purge(tenant: string): Promise<Purged> {
  return json("POST", ofTenant(tenant, "/purge"));
}

function ofTenant(tenant: string, below = ""): string {
  return `/api/v1/tenants/${encodeURIComponent(tenant)}/keys${below}`;
}

function recording(path: string, tenant: string, query: Record<string, string> = {}): string {
  return `/api/v2/recording/${path}?${new URLSearchParams({ ...query, tenant })}`;
}

function nameOf({ provider, id }: KeyName): KeyName {
  return { provider, id };
}
