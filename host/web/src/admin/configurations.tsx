/* A tenant's key services: what is set, and how each fares. */
import type { KeyConfiguration, KeyProvider } from "../api/types";
import { providerName } from "../format";
import { ProviderIcon } from "../library/protection-mark";
import { Alert, Check, Refresh } from "../ui/icons";
import { Time } from "../ui/parts";
import type { KeysModel } from "./keys-model";
import type { Ask } from "./keys-page";
import { Part } from "./part";
import { fieldsOf } from "./schema";
import { currentKey } from "./words";

export function Configurations({ model, ask }: { model: KeysModel; ask: Ask }) {
  const configurations = model.configurations.value.value ?? [];
  const providers = model.providers.value.value ?? [];
  const keys = model.keys.value.value;
  const inUse = keys && currentKey(keys)?.configuration;
  return (
    <Part
      title="Key providers" id="configurations" of={model.configurations.value} again={() => model.loadConfigurations()} rows={3}
      end={providers.length > 0 && (
        <button type="button" class="button small" onClick={() => ask({ kind: "configure", existing: null })} data-testid="add-configuration">Use a key provider…</button>
      )}
    >
      {model.providers.value.problem && (
        <p class="form-problem" role="alert"><Alert size={20} /><span>The providers that are installed could not be listed, so nothing can be set now. {model.providers.value.problem.detail}</span></p>
      )}
      {configurations.length === 0 && <p class="muted">Nothing is configured: Keyreel keeps this organisation's keys itself, which needs no settings.</p>}
      <ul class="configurations">
        {configurations.map((each) => (
          <Configuration
            key={each.id} of={each} provider={providers.find((provider) => provider.id === each.provider)} inUse={each.id === inUse} model={model} ask={ask}
          />
        ))}
      </ul>
    </Part>
  );
}

function Configuration(props: { of: KeyConfiguration; provider: KeyProvider | undefined; inUse: boolean; model: KeysModel; ask: Ask }) {
  const { of: configuration, provider, model, ask } = props;
  const fields = provider ? fieldsOf(provider.configSchema) : [];
  const settable = fields.length > 0 || (provider?.secrets.length ?? 0) > 0;
  const known = new Map(fields.map((field) => [field.name, field.label]));
  const order = [...known.keys()];
  const settings = Object.entries(configuration.configuration)
    .sort(([one], [other]) => (order.indexOf(one) + 1 || 99) - (order.indexOf(other) + 1 || 99));
  return (
    <li class="configuration" data-testid="configuration" data-id={configuration.id} data-provider={configuration.provider}>
      <div class="configuration-head">
        <ProviderIcon provider={configuration.provider} size={18} />
        <h3>{provider?.name ?? providerName(configuration.provider)}</h3>
        {props.inUse && <span class="tag state" data-state="current">In use</span>}
        <HealthMark model={model} id={configuration.id} />
      </div>
      <dl class="facts">
        {settings.map(([name, value]) => (
          <div key={name}><dt>{known.get(name) ?? name}</dt><dd>{shown(value)}</dd></div>
        ))}
        {(provider?.secrets.length ?? 0) > 0 && <div><dt>Secrets</dt><dd>stored, shown to nobody</dd></div>}
        <div><dt>Made</dt><dd><Time at={configuration.dateCreated} /></dd></div>
      </dl>
      <div class="card-foot">
        {settable && <button type="button" class="button small" onClick={() => ask({ kind: "configure", existing: configuration })} data-testid="change-configuration">Change settings…</button>}
        {provider && !provider.mintsKeks && (
          <button type="button" class="button small" onClick={() => ask({ kind: "register", configuration: configuration.id })} data-testid="register-here">Register a key pair…</button>
        )}
      </div>
    </li>
  );
}

function HealthMark({ model, id }: { model: KeysModel; id: string }) {
  const health = model.health.value[id];
  const again = (
    <button type="button" class="button ghost small square" disabled={!health} onClick={() => void model.loadHealth(id)}>
      <Refresh size={15} /><span class="visually-hidden">Ask the key service again</span>
    </button>
  );
  if (!health) return <span class="health" data-testid="health" data-kind="asking"><span class="muted">Asking…</span>{again}</span>;
  switch (health.kind) {
    case "well": return <span class="health" data-testid="health" data-kind="well"><Check size={16} /> Answers{again}</span>;
    case "ill": return <span class="health" data-testid="health" data-kind="ill"><Alert size={16} /><span>{health.detail}</span>{again}</span>;
    case "unknown": return <span class="health" data-testid="health" data-kind="unknown"><Alert size={16} /><span>It is not known how it fares. {health.problem.detail}</span>{again}</span>;
  }
}

function shown(value: unknown): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "string" ? value : JSON.stringify(value);
}
