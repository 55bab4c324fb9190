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
