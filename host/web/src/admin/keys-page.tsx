/* The Encryption keys page: what protects new recordings, whose keys they are, and everything that an
   administrator may do with them. Not for: fetching (keys-model.ts). */
import "../styles/admin.css";
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Destruction, DestructionScope, KeyConfiguration, KeyVersion } from "../api/types";
import { go, place } from "../router";
import { tenantsWith } from "../state/roles";
import { signInAgain } from "../state/session";
import { Notice } from "../ui/notice";
import { PolicyDialog, PurgeDialog, RotateDialog } from "./actions";
import { AdminHead, NotForYou } from "./admin-head";
import { ConfigurationDialog } from "./configuration-dialog";
import { Configurations } from "./configurations";
import { ConfirmDialog, DestroyDialog, DestructionCard, RecordingsDialog } from "./destruction-card";
import { KeyDialog, type KeyAction } from "./key-dialogs";
import { KeysModel } from "./keys-model";
import { KeyVersions } from "./key-versions";
import { NowCard } from "./now-card";
import { RecoveryCard } from "./recovery-card";
import { RegisterDialog } from "./register-dialog";
import { RewrapCard } from "./rewrap-card";
import { ScheduleCard } from "./schedule-card";
import { destroyed } from "./words";

/* Which dialog is open. */
export type Asking =
  | { kind: "rotate" } | { kind: "policy" } | { kind: "purge" }
  | { kind: "configure"; existing: KeyConfiguration | null }
  | { kind: "register"; configuration: string }
  | { kind: "key"; action: KeyAction; key: KeyVersion }
  | { kind: "recordings" }
  | { kind: "destroy"; scope: DestructionScope }
  | { kind: "confirm"; of: Destruction };

export type Ask = (asking: Asking) => void;

export function KeysPage() {
  const tenants = tenantsWith("admin");
  const asked = place.value.query.get("tenant");
  const tenant = asked === null ? tenants[0] : tenants.find((each) => each.id === asked);
  useEffect(() => { document.title = "Encryption keys – Keyreel"; }, []);
  if (!tenant) return <NotForYou role="administrators" whose={asked} title="Encryption keys" />;
  return (
    <main class="page admin" id="content">
      <AdminHead
        title="Encryption keys" tenants={tenants} tenant={tenant.id}
        onTenant={(id) => go(`/admin/encryption-keys?${new URLSearchParams({ tenant: id })}`, "replace")}
      />
      <OfTenant key={tenant.id} tenant={tenant.id} name={tenant.name} />
      <Notice />
    </main>
  );
}

function OfTenant({ tenant, name }: { tenant: string; name: string }) {
  const model = useMemo(() => new KeysModel(tenant, signInAgain), [tenant]);
  const asking = useSignal<Asking | null>(null);
  // The parts come up together, so that none pushes another about; a slow one is not waited for long.
  const shown = useSignal(false);
  useEffect(() => {
    const timer = setTimeout(() => { shown.value = true; }, PATIENCE_MS);
    void model.load().then(() => { shown.value = true; });
    return () => {
      clearTimeout(timer);
      model.destroy();
    };
  }, [model]);
  const ask: Ask = (asked) => { asking.value = asked; };
  // One dialog may lead to another; the first gives the focus back before the second takes it.
  const next = useRef<Asking | null>(null);
  const close = () => {
    asking.value = next.current;
    next.current = null;
  };
  const changed = () => model.reload();
  const keys = model.keys.value.value;
  const open = asking.value;
  // Nothing is made, set or registered any more once everything was destroyed.
  const gone = destroyed(model.destructions.value.value ?? []);
  if (!shown.value) return <Waiting />;
  return (
    <>
      {gone
        ? <NowCard model={model} name={name} ask={ask} gone />
        : (
          <div class="admin-grid">
            <NowCard model={model} name={name} ask={ask} />
            <div class="admin-stack">
              <ScheduleCard model={model} />
              <RewrapCard model={model} />
            </div>
          </div>
        )}
      <KeyVersions model={model} ask={ask} />
      {!gone && <Configurations model={model} ask={ask} />}
      {!gone && <RecoveryCard model={model} />}
      <section class="card admin-card" aria-labelledby="purge-heading">
        <h2 id="purge-heading">Take effect at once</h2>
        <div class="split">
          <p class="muted">
            Keyreel keeps a recording's key in memory for a short time, a minute unless whoever runs it chose otherwise. If a key was
            just withdrawn in the key service, empty the caches so that nothing opens from memory.
          </p>
          <button type="button" class="button" onClick={() => ask({ kind: "purge" })} data-testid="purge">Empty key caches…</button>
        </div>
      </section>
      <DestructionCard model={model} name={name} ask={ask} />
      <WhoMay />
      {open?.kind === "rotate" && keys && <RotateDialog keys={keys} onDone={changed} onClose={close} />}
      {open?.kind === "policy" && keys && <PolicyDialog keys={keys} onDone={changed} onClose={close} />}
      {open?.kind === "purge" && <PurgeDialog tenant={tenant} name={name} onClose={close} />}
      {open?.kind === "configure" && (
        <ConfigurationDialog
          tenant={tenant} providers={model.providers.value.value ?? []} existing={open.existing} onSaved={changed} onClose={close}
          onRegister={(configuration) => { next.current = { kind: "register", configuration: configuration.id }; }}
        />
      )}
      {open?.kind === "register" && (
        <RegisterDialog
          tenant={tenant} chosen={open.configuration} onClose={close}
          configurations={(model.configurations.value.value ?? []).filter((each) => each.keyConfigurationType === "LocalKeyManager" || each.id === open.configuration)}
          onDone={changed}
        />
      )}
      {open?.kind === "key" && (
        <KeyDialog key={`${open.action}/${open.key.provider}/${open.key.id}`} tenant={tenant} action={open.action}
          // A count that changed meanwhile changes what has to be typed.
          of={keys?.keys.find((each) => each.id === open.key.id && each.provider === open.key.provider) ?? open.key}
          onDone={changed} onClose={close} />
      )}
      {open?.kind === "recordings" && (
        <RecordingsDialog onNext={(scope) => { next.current = { kind: "destroy", scope }; }} onClose={close} />
      )}
      {open?.kind === "destroy" && <DestroyDialog model={model} name={name} scope={open.scope} onClose={close} />}
      {open?.kind === "confirm" && <ConfirmDialog model={model} name={name} of={open.of} onClose={close} />}
    </>
  );
}

function Waiting() {
  return (
    <div class="admin-waiting" role="status">
      <span class="visually-hidden">Loading the keys</span>
      <i class="card" aria-hidden="true" /><i class="card" aria-hidden="true" /><i class="card" aria-hidden="true" />
    </div>
  );
}

function WhoMay() {
  return (
    <section class="card admin-card" aria-labelledby="who-heading">
      <h2 id="who-heading">Who may do what</h2>
      <dl class="facts wide">
        <div><dt>Agents</dt><dd>find and play recordings. They never see this page.</dd></div>
        <div><dt>Supervisors</dt><dd>also read and export the audit log.</dd></div>
        <div><dt>Administrators</dt><dd>do everything on this page, in their own organisations. All of it is written to the audit log before it counts.</dd></div>
        <div><dt>Key owners</dt><dd>decide in their Local Key Manager or in AWS KMS, whatever is set here.</dd></div>
      </dl>
    </section>
  );
}

const PATIENCE_MS = 3000;
