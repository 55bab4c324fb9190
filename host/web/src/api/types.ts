/* The shapes that the server's /api/v1 answers with, as docs/openapi.json has them.
   Not for: what the pages make of them. */

export interface Session {
  subject: string;
  name: string;
  tenants: Tenant[];
  expires: string;
}

export interface Tenant {
  id: string;
  name: string;
  policy: "compatible" | "aes256" | string;
  provider: string;
  role: string;
}

export interface Channel {
  channel: number;
  role: string;
  name?: string | null;
  address?: string | null;
}

export interface RecordingSummary {
  id: string;
  tenant: string;
  conversationId: string;
  media: string;
  contentType: string;
  startTime: string;
  durationMs: number;
  provider: string;
  kekId: string;
  wrapAlgorithm: string;
  direction?: string | null;
  queue?: string | null;
  subject?: string | null;
  channels: Channel[];
  labels: string[];
  hasTranscript: boolean;
}

export interface Span {
  reason: string;
  startMs: number;
  endMs: number;
  description?: string | null;
}

export interface Protection {
  provider: string;
  providerName: string;
  kekId: string;
  wrapAlgorithm: string;
  strength: string;
  legacy: boolean;
  policy: string;
  bodyCipher: string;
  generation: number;
}

export interface Recording extends RecordingSummary {
  spans: Span[];
  parts: { name: string; contentType: string; bytes: number }[];
  protection: Protection;
}

export interface Page<T> {
  entities: T[];
  nextUri: string | null;
}

export interface Grant {
  mediaUri: string;
  waveformUri: string | null;
  transcriptUri: string | null;
  expires: string;
}

/* BBC audiowaveform JSON, version 2: per pixel, per channel, a minimum and a maximum. */
export interface WaveformData {
  version: number;
  channels?: number;
  sample_rate: number;
  samples_per_pixel: number;
  bits: 8 | 16;
  length: number;
  data: number[];
}

export interface Word {
  text: string;
  startMs: number;
  endMs: number;
}

export interface Utterance {
  id: string;
  channel: number;
  role: string;
  startMs: number;
  endMs: number;
  text: string;
  words?: Word[];
}

export interface Transcript {
  version: number;
  language: string;
  utterances: Utterance[];
}

/* A tenant's keys, newest first, and how new recordings are sealed. */
export interface TenantKeys {
  tenant: string;
  policy: string;
  provider: string;
  /* Whether the provider makes key pairs itself; otherwise their owner registers them. */
  mintsKeks: boolean;
  keys: KeyVersion[];
}

export type KeyState = "current" | "previous" | "disabled" | "retired";

export interface KeyName {
  provider: string;
  id: string;
}

export interface KeyVersion extends KeyName {
  wrapAlgorithm: string;
  strengthBits: number;
  legacy: boolean;
  state: KeyState | string;
  dateCreated: string;
  configuration: string | null;
  /* How many recordings only this key opens. */
  recordings: number;
}

/* A plugin that can keep keys, and what it asks to be told. */
export interface KeyProvider {
  id: string;
  name: string;
  version: string;
  mintsKeks: boolean;
  algorithms: string[];
  secrets: string[];
  configSchema: JsonSchema;
}

/* The part of JSON Schema that forms are drawn from. */
export interface JsonSchema {
  title?: string;
  description?: string;
  type?: string | string[];
  required?: string[];
  properties?: Record<string, JsonSchema>;
  enum?: unknown[];
  const?: unknown;
  default?: unknown;
  format?: string;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
}

export interface KeyConfigurationInput {
  keyConfigurationType: string;
  provider?: string;
  configuration: Record<string, unknown>;
  secrets?: Record<string, string>;
}

export interface KeyConfiguration {
  id: string;
  keyConfigurationType: string;
  provider: string;
  configuration: Record<string, unknown>;
  dateCreated: string;
  url?: string;
  apiId?: string;
  lastError?: string;
  warnings?: string[];
  selfUri: string;
}

export type DestructionScope =
  | { kind: "tenant" }
  | { kind: "key"; provider: string; id: string }
  | { kind: "recordings"; ids: string[] };

/* What has to be typed to have something destroyed. */
export interface DestructionPreview {
  confirm: string;
  needsTwoPeople: boolean;
}

export interface Destruction {
  id: string;
  scope: DestructionScope;
  reason: string;
  state: "requested" | "running" | "halted" | "done" | "cancelled";
  requestedBy: string;
  requestedAt: string;
  decidedBy: string | null;
  decidedAt: string | null;
  recordings: number | null;
  lastError: string | null;
  endedAt: string | null;
  certified: boolean;
}

/* Pages of /api/v2, which are counted. */
export interface Listing<T> {
  entities: T[];
  total: number;
}

export interface EncryptionKey {
  id: string;
  createDate: string;
  keyConfigurationType: string;
  provider: string;
  wrapAlgorithm: string;
  state: string;
}

export interface LocalKeyInput {
  configId: string;
  keypairId: string;
  publicKey: string;
}

export type Period = "DISABLED" | "DAILY" | "WEEKLY" | "MONTHLY" | "YEARLY";

export interface RotationSchedule {
  period: Period | string;
  nextRotation: string | null;
  lastRotation: string | null;
  lastError: string | null;
}

export interface RewrapStatus {
  state: "idle" | "running" | "done" | "stopped" | "failed" | string;
  total: number;
  done: number;
  failed: number;
  perSecond: number | null;
  startedAt: string | null;
  updatedAt: string | null;
  endedAt: string | null;
  /* What it waits for, or what went wrong last. */
  lastError: string | null;
  /* The first of those that could not be moved. */
  failures: { recording: string; code: string; reason: string }[];
}

/* A tenant's recovery key; without one, all recordings lack it. */
export interface RecoveryStatus {
  key: { id: string; wrapAlgorithm: string; strengthBits: number; dateCreated: string } | null;
  recordings: number;
  lacking: number;
  /* Of those lacking, how many are wrapped to a former one. */
  former: number;
}

export interface Purged {
  tenant: string;
  cutPlays: number;
}

export interface AuditEntry {
  id: string;
  at: string;
  action: string;
  tenant: string | null;
  subject: string;
  recording: string | null;
  outcome: string;
  fields: Record<string, unknown>;
  /* Its place in the chain and the chain's hash there, hex; none where somebody took it out. */
  seq: number;
  hash: string | null;
}
