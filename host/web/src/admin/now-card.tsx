/* What protects new recordings now, said plainly. */
import { algorithmName, counted, policyName, providerName } from "../format";
import { ProviderIcon } from "../library/protection-mark";
import { ShieldAlert, ShieldCheck } from "../ui/icons";
import { Time } from "../ui/parts";
import type { KeysModel } from "./keys-model";
import type { Ask } from "./keys-page";
import { Part } from "./part";
import { currentKey, custody, olderRecordings, strengthName } from "./words";

export function NowCard({ model, name, ask, gone = false }: { model: KeysModel; name: string; ask: Ask; gone?: boolean }) {
  const keys = model.keys.value.value;
  const providers = model.providers.value.value ?? [];
  const configurations = model.configurations.value.value ?? [];
  return (
    <Part title="New recordings" id="now" of={model.keys.value} again={() => model.loadKeys()} rows={9} class="now-card">
      {keys && (() => {
        const key = currentKey(keys);
        const called = providers.find((each) => each.id === keys.provider)?.name ?? providerName(keys.provider);
        const lkm = configurations.find((each) => each.id === key?.configuration) ?? configurations.find((each) => each.provider === keys.provider);
        const older = olderRecordings(keys);
        return (
          <>
            {key ? (
              <p class="now-line" data-testid="now" data-legacy={key.legacy}>
                {key.legacy ? <ShieldAlert size={26} /> : <ShieldCheck size={26} />}
                <span>
                  <strong>{called}</strong>
                  <span>New recordings of {name} are sealed under <span class="mono">{key.id}</span>. {custody(keys.provider, called)}</span>
                </span>
              </p>
            ) : (
              <p class="now-line" data-testid="now" data-legacy="true">
                <ShieldAlert size={26} />
                <span>
                  <strong>There is no current key</strong>
                  <span>
                    Recordings of {name} cannot be taken in.
                    {!gone && ` ${keys.mintsKeks ? "Make a new key" : "Register a key pair"}, or enable the newest one again.`}
                  </span>
                </span>
              </p>
            )}
            <dl class="facts">
              <div><dt>Key provider</dt><dd class="with-icon"><ProviderIcon provider={keys.provider} size={16} />{called}</dd></div>
              {key && (
                <>
                  <div><dt>Key</dt><dd><span class="mono">{key.id}</span>, since <Time at={key.dateCreated} brief="day" /></dd></div>
                  <div><dt>Wrapped with</dt><dd>{algorithmName(key.wrapAlgorithm)}{key.legacy && <span class="tag tag-legacy">Legacy</span>}</dd></div>
                  <div><dt>Strength</dt><dd>{strengthName(key.strengthBits)}{key.strengthBits >= 256 && <span class="tag tag-strong">PQ</span>}</dd></div>
                </>
              )}
              <div><dt>Policy</dt><dd data-testid="policy">{policyName(keys.policy)}</dd></div>
              {!gone && <div><dt>Older recordings</dt><dd>{older === 0 ? "all under the current key" : `${counted(older, "recording")} under earlier keys`}</dd></div>}
            </dl>
            {key?.legacy && (
              <p class="legacy-note">
                Keys are wrapped in an old way (SHA-1), as the first Local Key Managers need it. Once yours takes SHA-256, choose that
                padding in its settings, register a new key pair, and re-wrap the older recordings.
              </p>
            )}
            {!gone && <div class="card-foot">
              {keys.mintsKeks
                ? <button type="button" class="button primary" onClick={() => ask({ kind: "rotate" })} data-testid="rotate">Rotate now…</button>
                : lkm && <button type="button" class="button primary" onClick={() => ask({ kind: "register", configuration: lkm.id })} data-testid="register">Register a key pair…</button>}
              {keys.mintsKeks && <button type="button" class="button" onClick={() => ask({ kind: "policy" })} data-testid="change-policy">Change policy…</button>}
            </div>}
          </>
        );
      })()}
    </Part>
  );
}
