/* Which pages somebody may be shown, by the roles that the session tells. The server decides about
   every request all the same. */
import type { Tenant } from "../api/types";
import { session } from "./session";

export type Role = "agent" | "supervisor" | "admin";

/* The tenants in which whoever is signed in has this role or a higher one. */
export function tenantsWith(role: Role): Tenant[] {
  return (session.value?.tenants ?? []).filter((tenant) => rank(tenant.role) >= rank(role));
}

function rank(role: string): number {
  return ROLES.indexOf(role as Role);
}

const ROLES: Role[] = ["agent", "supervisor", "admin"];
