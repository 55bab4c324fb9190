/* What heads the administrators' pages: where one is, and whose keys or log they are. */
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import type { Tenant } from "../api/types";
import { follow } from "../router";

export function AdminHead(props: {
  title: string; tenants: Tenant[]; tenant: string; onTenant: (id: string) => void;
  /* What to call all of them together, where that can be chosen. */
  all?: string; children?: ComponentChildren;
}) {
  const { tenants } = props;
  return (
    <header class="admin-head">
      <div>
        <Crumbs title={props.title} />
        <h1>{props.title}</h1>
      </div>
      <div class="admin-head-end">
        {tenants.length > 1 ? (
          <label class="chooser">
            <span>Organisation</span>
            <select class="select" value={props.tenant} data-testid="tenant" onChange={(event) => props.onTenant(event.currentTarget.value)}>
              {props.all && <option value="">{props.all}</option>}
              {tenants.map((tenant) => <option key={tenant.id} value={tenant.id}>{tenant.name}</option>)}
            </select>
          </label>
        ) : <p class="chooser" data-testid="tenant"><span>Organisation</span> <strong>{tenants[0]?.name}</strong></p>}
        {props.children}
      </div>
    </header>
  );
}

function Crumbs({ title }: { title: string }) {
  return (
    <nav aria-label="Breadcrumb">
      <ol class="crumbs"><li>Admin</li><li>Quality</li><li aria-current="page">{title}</li></ol>
    </nav>
  );
}

/* For those whose role does not open a page: nothing of it is asked for. */
export function NotForYou({ role, whose, title }: { role: "administrators" | "supervisors"; whose: string | null; title: string }) {
  useEffect(() => { document.title = `${title} – Keyreel`; }, [title]);
  return (
    <main class="page centred" id="content">
      <div class="empty" data-testid="not-for-you">
        <h1>This page is for {role}</h1>
        <p class="muted">
          {whose ? "You are none of this organisation" : `You are none of any organisation`}. An administrator of your organisation can change that.
        </p>
        <p><a class="button" href="/" onClick={follow}>Go to the recordings</a></p>
      </div>
    </main>
  );
}
