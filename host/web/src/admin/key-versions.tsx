/* All keys of a tenant, newest first: what each still opens, and what may be done with it. */
import type { KeyConfiguration, KeyVersion } from "../api/types";
import { algorithmName, providerName } from "../format";
import { ProviderIcon } from "../library/protection-mark";
import { Time } from "../ui/parts";
import type { KeyAction } from "./key-dialogs";
import type { KeysModel } from "./keys-model";
import type { Ask } from "./keys-page";
import { Part } from "./part";
import { stateMeaning, stateName, strengthName } from "./words";

export function KeyVersions({ model, ask }: { model: KeysModel; ask: Ask }) {
  const keys = model.keys.value.value;
  const configurations = model.configurations.value.value ?? [];
  return (
    <Part title="Keys" id="keys" of={model.keys.value} again={() => model.loadKeys()} rows={4} class="flush">
      {keys && keys.keys.length === 0 && <p class="muted part-empty">This organisation has no keys yet.</p>}
      {keys && keys.keys.length > 0 && (
        <table class="key-table" role="table" aria-labelledby="keys-heading">
          <thead role="rowgroup">
            <tr role="row">
              <th role="columnheader" scope="col">Key</th>
              <th role="columnheader" scope="col">State</th>
              <th role="columnheader" scope="col">Since</th>
              <th role="columnheader" scope="col">Algorithm</th>
              <th role="columnheader" scope="col">Strength</th>
              <th role="columnheader" scope="col" class="number">Recordings</th>
              <th role="columnheader" scope="col">Configuration</th>
              <th role="columnheader" scope="col"><span class="visually-hidden">Actions</span></th>
            </tr>
          </thead>
          <tbody role="rowgroup">
            {keys.keys.map((key) => (
              <Row key={`${key.provider}/${key.id}`} of={key} ask={ask} configuration={configurations.find((each) => each.id === key.configuration)} />
            ))}
          </tbody>
        </table>
      )}
    </Part>
  );
}

function Row({ of: key, configuration, ask }: { of: KeyVersion; configuration: KeyConfiguration | undefined; ask: Ask }) {
  const meaning = stateMeaning(key.state);
  return (
    <tr role="row" data-testid="key" data-id={key.id} data-provider={key.provider} data-state={key.state}>
      <td role="cell" class="key-name">
        <ProviderIcon provider={key.provider} size={16} />
        <span><span class="mono">{key.id}</span><span class="muted">{providerName(key.provider)}</span></span>
      </td>
      <td role="cell"><span class="tag state" data-state={key.state}>{stateName(key.state)}</span><span class="muted state-meaning">{meaning}</span></td>
      <td role="cell" data-label="Since"><Time at={key.dateCreated} brief="day" /></td>
      <td role="cell" data-label="Algorithm"><span>{algorithmName(key.wrapAlgorithm)}{key.legacy && <span class="tag tag-legacy">Legacy</span>}</span></td>
      <td role="cell" data-label="Strength">{strengthName(key.strengthBits)}</td>
      <td role="cell" data-label="Recordings" class="number" data-testid="key-recordings">{key.recordings.toLocaleString()}</td>
      <td role="cell" data-label="Configuration" class="key-configuration">{configurationOf(key, configuration)}</td>
      <td role="cell" class="key-actions">
        {actionsFor(key).map((action) => (
          <button type="button" class="button small" key={action} onClick={() => ask({ kind: "key", action, key })} data-testid={`${action}-key`}>
            {LABELS[action]}<span class="visually-hidden"> {key.id}</span>
          </button>
        ))}
        {(key.state === "previous" || key.state === "disabled") && (
          <button type="button" class="button small" data-testid="destroy-key"
            onClick={() => ask({ kind: "destroy", scope: { kind: "key", provider: key.provider, id: key.id } })}>
            Destroy…<span class="visually-hidden"> {key.id}</span>
          </button>
        )}
      </td>
    </tr>
  );
}

function configurationOf(key: KeyVersion, configuration: KeyConfiguration | undefined) {
  if (configuration) return configuration.url ?? providerName(configuration.provider);
  if (key.configuration) return <span class="mono">{key.configuration.slice(0, 8)}</span>;
  return <span class="muted">{key.provider === "managed" ? "none needed" : "–"}</span>;
}

/* The current key is never retired: rotate first. */
function actionsFor(key: KeyVersion): KeyAction[] {
  switch (key.state) {
    case "current": return ["disable"];
    case "previous": return ["disable", "retire"];
    case "disabled": return ["enable", "retire"];
    default: return [];
  }
}

const LABELS: Record<KeyAction, string> = { disable: "Disable…", enable: "Enable…", retire: "Retire…" };
