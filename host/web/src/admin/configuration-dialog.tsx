/* Where a tenant's key service is: a form drawn from its plugin's schema, tried before it is saved.
   Not for: key pairs, which are registered once the service is known (register-dialog.tsx). */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import * as api from "../api/keys";
import { explain, type Problem, problemFromError } from "../api/problem";
import type { KeyConfiguration, KeyConfigurationInput, KeyProvider } from "../api/types";
import { providerName } from "../format";
import { ProviderIcon } from "../library/protection-mark";
import { Alert, Check } from "../ui/icons";
import { say } from "../ui/notice";
import { Dialog, ProblemLine } from "../ui/parts";
import { configurationOf, faultsOf, fieldsOf, labelOf, type Values, valuesOf } from "./schema";
import { SchemaFields, SecretFields } from "./schema-form";
import { configurationType, custody } from "./words";

type Outcome =
  | { kind: "tried"; warnings: string[] }
  | { kind: "saved"; warnings: string[]; configuration: KeyConfiguration }
  | { kind: "failed"; problem: Problem };

export function ConfigurationDialog(props: {
  tenant: string;
  providers: KeyProvider[];
  /* The one that is changed; none where a new one is made. */
  existing: KeyConfiguration | null;
  onSaved: () => Promise<void>;
  /* To the next step with a provider whose key pairs are registered. */
  onRegister: (configuration: KeyConfiguration) => void;
  onClose: () => void;
}) {
  const { existing } = props;
  const chosen = useSignal(existing?.provider ?? "");
  const provider = props.providers.find((each) => each.id === chosen.value);
  return (
    <Dialog
      title={existing ? `Settings of ${provider?.name ?? providerName(existing.provider)}` : "Use a key provider"}
      onClose={props.onClose} beside="stays" testId="configuration-dialog"
    >
      {!existing && (
        <fieldset class="choices">
          <legend>Who keeps the keys of new recordings?</legend>
          {props.providers.map((each) => (
            <label class="choice" key={each.id}>
              <input type="radio" name="provider" value={each.id} checked={each.id === chosen.value} onChange={() => { chosen.value = each.id; }} />
              <ProviderIcon provider={each.id} size={18} />
              <span><strong>{each.name}</strong><span class="muted">{custody(each.id, each.name)}</span></span>
            </label>
          ))}
        </fieldset>
      )}
      {provider && <ConfigurationForm key={provider.id} {...props} provider={provider} />}
      {existing && !provider && (
        <p class="form-problem" role="alert"><Alert size={20} /><span>The plugin {existing.provider} is not installed on this server. Tell whoever runs it.</span></p>
      )}
    </Dialog>
  );
}

function ConfigurationForm(props: Parameters<typeof ConfigurationDialog>[0] & { provider: KeyProvider }) {
  const { provider, existing, tenant } = props;
  const before = existing?.configuration ?? {};
  const fields = useMemo(() => fieldsOf(provider.configSchema), [provider]);
  const values = useSignal<Values>(valuesOf(fields, before));
  const secrets = useSignal<Record<string, string>>({});
  const faults = useSignal<Record<string, string>>({});
  const busy = useSignal<"no" | "test" | "save">("no");
  const outcome = useSignal<Outcome | null>(null);
  const form = useRef<HTMLFormElement>(null);
  const gone = useRef(false);
  useEffect(() => () => { gone.current = true; }, []);

  /* A saved secret is not sent along with a test, which is of what stands here and nothing else. */
  function check(purpose: "test" | "save"): KeyConfigurationInput | null {
    const found = faultsOf(fields, values.value);
    for (const name of provider.secrets) {
      if (secrets.value[name]) continue;
      if (!existing) found[name] = `${labelOf(name)} is needed.`;
      else if (purpose === "test") found[name] = `To try these settings without saving them, enter the ${labelOf(name)} again. Saving tries them too, with the stored one.`;
    }
    faults.value = found;
    if (Object.keys(found).length > 0) {
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
      return null;
    }
    const entered = Object.fromEntries(Object.entries(secrets.value).filter(([, secret]) => secret !== ""));
    const type = configurationType(provider.id);
    return {
      keyConfigurationType: type,
      ...(type === "Vendor" ? { provider: provider.id } : {}),
      configuration: configurationOf(fields, values.value, before),
      ...(Object.keys(entered).length > 0 ? { secrets: entered } : {}),
    };
  }

  async function run(purpose: "test" | "save") {
    if (busy.value !== "no") return;
    outcome.value = null;
    const input = check(purpose);
    if (!input) return;
    busy.value = purpose;
    try {
      if (purpose === "test") {
        const tried = await api.validate(tenant, input);
        outcome.value = { kind: "tried", warnings: tried.warnings ?? [] };
      } else {
        const configuration = await api.saveConfiguration(tenant, existing?.id ?? null, input);
        await props.onSaved();
        secrets.value = {};
        outcome.value = { kind: "saved", warnings: configuration.warnings ?? [], configuration };
        if (gone.current) say("Saved");
      }
    } catch (error) {
      const problem = problemFromError(error);
      outcome.value = { kind: "failed", problem };
      if (gone.current) say(problem.detail || explain(problem).title);
    }
    busy.value = "no";
  }

  const close = () => form.current?.closest("dialog")?.close();
  if (outcome.value?.kind === "saved") {
    const { configuration, warnings } = outcome.value;
    return <Saved provider={provider} changed={existing !== null} warnings={warnings} onRegister={() => props.onRegister(configuration)} />;
  }
  return (
    <form
      class="action" ref={form} noValidate aria-label="Settings" aria-busy={busy.value !== "no"} data-testid="configuration-form"
      onSubmit={(event) => { event.preventDefault(); void run("save"); }}
    >
      {provider.configSchema.description && <p class="muted">{provider.configSchema.description}</p>}
      {fields.length === 0 && provider.secrets.length === 0 && <p>There is nothing to set.</p>}
      <SchemaFields fields={fields} values={values.value} faults={faults.value}
        onChange={(name, value) => { values.value = { ...values.value, [name]: value }; outcome.value = null; }} />
      <SecretFields names={provider.secrets} values={secrets.value} faults={faults.value} kept={existing ? "kept" : "new"}
        onChange={(name, value) => { secrets.value = { ...secrets.value, [name]: value }; outcome.value = null; }} />
      <p class="consequence"><Alert size={18} /><span>{consequence(provider, existing !== null)}</span></p>
      {outcome.value?.kind === "tried" && <Warnings of={outcome.value.warnings} />}
      <div class="dialog-end">
        {outcome.value?.kind === "tried" && (
          <p class="done-line" role="status" data-testid="tried"><Check size={20} /><span><strong>The key service answers.</strong> Nothing was saved.</span></p>
        )}
        {outcome.value?.kind === "failed" && <ProblemLine problem={outcome.value.problem} />}
        <div class="dialog-foot">
          <button type="button" class="button" onClick={close}>Cancel</button>
          <button type="button" class="button" disabled={busy.value !== "no"} onClick={() => void run("test")} data-testid="test">
            {busy.value === "test" ? "Testing…" : "Test"}
          </button>
          <button type="submit" class="button primary" disabled={busy.value !== "no"} data-testid="save">{busy.value === "save" ? "Saving…" : "Save"}</button>
        </div>
      </div>
    </form>
  );
}

function Saved(props: { provider: KeyProvider; changed: boolean; warnings: string[]; onRegister: () => void }) {
  const { provider, changed } = props;
  const form = useRef<HTMLFormElement>(null);
  // What had the focus is gone.
  useEffect(() => form.current?.querySelector("button")?.focus(), []);
  return (
    <form class="action" ref={form} method="dialog" data-testid="saved">
      <p class="done-line" role="status"><Check size={20} /><span><strong>It works, and is saved.</strong> {provider.mintsKeks
        ? "A new key pair was made and tried. New recordings are sealed with it from now on; older ones keep opening with the keys that sealed them."
        : changed
          ? "The keys that were registered with it were tried with the new settings."
          : "Nothing has changed for recordings yet: register a key pair next."}</span></p>
      <Warnings of={props.warnings} />
      <div class="dialog-foot">
        {!provider.mintsKeks && !changed && (
          <button type="submit" class="button primary" onClick={props.onRegister} data-testid="register-next">Register a key pair</button>
        )}
        <button type="submit" class="button">Close</button>
      </div>
    </form>
  );
}

function Warnings({ of }: { of: string[] }) {
  if (of.length === 0) return null;
  return (
    <div class="warnings" data-testid="warnings">
      <h3>What you should know</h3>
      <ul>{of.map((warning) => <li key={warning}>{warning}</li>)}</ul>
    </div>
  );
}

function consequence(provider: KeyProvider, changing: boolean): string {
  if (provider.mintsKeks) {
    return changing
      ? "Saving tries the settings, makes a new key pair and seals new recordings with it. Key caches are emptied, and what is playing begins again where it was. Older recordings keep opening with their own keys."
      : "Saving tries the settings, makes a new key pair and seals new recordings with it. Older recordings keep opening with the keys that sealed them. Their key service must stay as it is.";
  }
  return changing
    ? "Saving tries the settings with every key pair that was registered with them; if one no longer opens, nothing is changed. Key caches are emptied, and what is playing begins again where it was."
    : "Saving asks the key service and changes nothing for recordings. They are sealed with its keys once a key pair is registered.";
}
