/* What the Encryption keys page shows of one tenant, fetched part by part: a part that fails does not
   hide the others, and what was shown stays until its successor is here.
   Not for: drawing it, nor for asking whether an action is meant (keys-page.tsx and its parts). */
import { type Signal, signal } from "@preact/signals";
import * as destructions from "../api/destructions";
import * as api from "../api/keys";
import { type Problem, problemFromError } from "../api/problem";
import type {
  Destruction, KeyConfiguration, KeyProvider, RecoveryStatus, RewrapStatus, RotationSchedule, TenantKeys,
} from "../api/types";

export interface Loaded<T> {
  value: T | null;
  problem: Problem | null;
}

/* How a key service fares. `undefined`: it is being asked. */
export type Health = { kind: "well" } | { kind: "ill"; detail: string } | { kind: "unknown"; problem: Problem };

export interface Look {
  at: number;
  handled: number;
}

export class KeysModel {
  readonly keys = signal<Loaded<TenantKeys>>(NOTHING);
  readonly providers = signal<Loaded<KeyProvider[]>>(NOTHING);
  readonly configurations = signal<Loaded<KeyConfiguration[]>>(NOTHING);
  readonly schedule = signal<Loaded<RotationSchedule>>(NOTHING);
  readonly recovery = signal<Loaded<RecoveryStatus>>(NOTHING);
  readonly rewrap = signal<Loaded<RewrapStatus>>(NOTHING);
  readonly destructions = signal<Loaded<Destruction[]>>(NOTHING);
  readonly health = signal<Record<string, Health | undefined>>({});
  /* The first and the last look at a running re-wrap: how fast it goes. */
  readonly looks = signal<{ first: Look; last: Look } | null>(null);

  private readonly abort = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private destructionTimer: ReturnType<typeof setTimeout> | undefined;
  /* Counts what was done to the re-wrap: a look from before tells nothing after. */
  private deeds = 0;

  constructor(readonly tenant: string, private readonly signedOut: () => void) {}

  /* Everything, at once. */
  async load(): Promise<void> {
    await Promise.all([this.loadKeys(), this.loadProviders(), this.loadConfigurations(), this.loadRecovery(), this.loadRewrap(), this.loadDestructions()]);
  }

  /* After an action: what it may have changed. */
  async reload(): Promise<void> {
    await Promise.all([this.loadKeys(), this.loadConfigurations(), this.loadRecovery(), this.loadRewrap()]);
  }

  async loadKeys(): Promise<void> {
    await this.into(this.keys, (signal) => api.keys(this.tenant, signal));
    const keys = this.keys.value.value;
    // Where owners register their keys there is nothing to run by the calendar.
    if (keys?.mintsKeks) await this.loadSchedule();
    else this.schedule.value = NOTHING;
  }

  loadProviders(): Promise<void> {
    return this.into(this.providers, (signal) => api.providers(this.tenant, signal));
  }

  loadRecovery(): Promise<void> {
    return this.into(this.recovery, (signal) => api.recovery(this.tenant, signal));
  }

  loadSchedule(): Promise<void> {
    return this.into(this.schedule, (signal) => api.schedule(this.tenant, signal));
  }

  async loadConfigurations(): Promise<void> {
    await this.into(this.configurations, (signal) => api.configurations(this.tenant, signal));
    // A key service may take its time to answer, and nothing else waits for it.
    for (const { id } of this.configurations.value.value ?? []) void this.loadHealth(id);
  }

  async loadHealth(id: string): Promise<void> {
    this.health.value = { ...this.health.value, [id]: undefined };
    let health: Health;
    try {
      const { lastError } = await api.configuration(this.tenant, id, this.abort.signal);
      health = lastError ? { kind: "ill", detail: lastError } : { kind: "well" };
    } catch (error) {
      if (this.abort.signal.aborted) return;
      health = { kind: "unknown", problem: problemFromError(error) };
    }
    this.health.value = { ...this.health.value, [id]: health };
  }

  /* Looks at the re-wrap, and again every second while it runs. */
  async loadRewrap(): Promise<void> {
    clearTimeout(this.timer);
    const { deeds } = this;
    const before = this.rewrap.value.value?.state;
    await this.into(this.rewrap, (signal) => api.rewrap(this.tenant, signal), () => deeds === this.deeds);
    if (deeds === this.deeds) await this.looked(before);
  }

  /* Looks at what is being destroyed, and again every second while it is. */
  async loadDestructions(): Promise<void> {
    clearTimeout(this.destructionTimer);
    const runs = () => this.destructions.value.value?.some((each) => each.state === "running") ?? false;
    const ran = runs();
    await this.into(this.destructions, (signal) => destructions.list(this.tenant, signal));
    if (this.abort.signal.aborted) return;
    if (runs()) this.destructionTimer = setTimeout(() => void this.loadDestructions(), LOOK_MS);
    else if (ran) await this.reload();
  }

  async startRewrap(perSecond: number | null): Promise<void> {
    this.looks.value = null;
    await this.deed(api.startRewrap(this.tenant, perSecond));
  }

  async stopRewrap(): Promise<void> {
    await this.deed(api.stopRewrap(this.tenant));
  }

  destroy(): void {
    clearTimeout(this.timer);
    clearTimeout(this.destructionTimer);
    this.abort.abort();
  }

  private async deed(answer: Promise<RewrapStatus>): Promise<void> {
    const status = await answer;
    this.deeds += 1;
    this.rewrap.value = { value: status, problem: null };
    await this.looked("running");
  }

  private async looked(before: string | undefined): Promise<void> {
    if (this.abort.signal.aborted) return;
    clearTimeout(this.timer);
    const { value: status, problem } = this.rewrap.value;
    if (status?.state === "running") {
      const look = { at: Date.now(), handled: status.done + status.failed };
      this.looks.value = { first: this.looks.value?.first ?? look, last: look };
      this.timer = setTimeout(() => void this.loadRewrap(), problem ? LOOK_AFTER_PROBLEM_MS : LOOK_MS);
    } else {
      this.looks.value = null;
      // How many recordings need which key is another than before.
      if (before === "running") await Promise.all([this.loadKeys(), this.loadRecovery()]);
    }
  }

  private async into<T>(part: Signal<Loaded<T>>, fetch: (signal: AbortSignal) => Promise<T>, counts = () => true): Promise<void> {
    const { signal } = this.abort;
    try {
      const value = await fetch(signal);
      if (!signal.aborted && counts()) part.value = { value, problem: null };
    } catch (error) {
      if (signal.aborted || !counts()) return;
      const problem = problemFromError(error);
      part.value = { value: part.value.value, problem };
      if (problem.code === "unauthenticated") this.signedOut();
    }
  }
}

const NOTHING = { value: null, problem: null };
const LOOK_MS = 1000;
const LOOK_AFTER_PROBLEM_MS = 4000;
