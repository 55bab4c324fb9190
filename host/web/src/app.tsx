/* Which page is shown, and what all pages share. */
import { useSignal } from "@preact/signals";
import { lazy, Suspense } from "preact/compat";
import { useCallback, useEffect } from "preact/hooks";
import { LibraryPage } from "./library/library-page";
import { follow, go, place, recordingId } from "./router";
import { SignInPage } from "./sign-in-page";
import { tenantsWith } from "./state/roles";
import { restoreSession, session, sessionProblem, signOut } from "./state/session";
import { forget } from "./state/library";
import { dark, toggleTheme } from "./state/theme";
import { Mark, Moon, SignOut, Sun } from "./ui/icons";
import { Announcer, Popover, ProblemCard, Spinner } from "./ui/parts";

const PlayerPage = lazy(() => loadPlayer());
const KeysPage = lazy(() => import("./admin/keys-page").then((module) => ({ default: module.KeysPage })));
const AuditPage = lazy(() => import("./audit/audit-page").then((module) => ({ default: module.AuditPage })));

/* The player's code is fetched when it is likely to be wanted. */
export function loadPlayer() {
  return import("./player/player-page").then((module) => ({ default: module.PlayerPage }));
}

export function App() {
  const { path, query } = place.value;
  const signingIn = path === "/sign-in" || path.startsWith("/sign-in/");
  useEffect(() => {
    // The sign-in page asks for nothing: an answer that crossed with its own would undo it.
    if (!signingIn && session.value === undefined) void restoreSession();
  }, [signingIn]);
  if (signingIn) return <><SignInPage next={query.get("next")} /><Announcer /></>;
  if (sessionProblem.value) {
    return (
      <main class="page centred">
        <ProblemCard problem={sessionProblem.value}>
          <button type="button" class="button primary" onClick={() => void restoreSession()}>Try again</button>
        </ProblemCard>
      </main>
    );
  }
  if (session.value === undefined) return <main class="page centred"><Spinner label="Loading" /></main>;
  if (session.value === null) {
    const next = location.pathname + location.search;
    queueMicrotask(() => go(next === "/" ? "/sign-in" : `/sign-in?next=${encodeURIComponent(next)}`, "replace"));
    return null;
  }
  const id = recordingId(path);
  return (
    <>
      <a class="skip-link" href="#content">Skip to content</a>
      <TopBar />
      {id ? (
        <Suspense fallback={<main class="page centred" id="content"><Spinner label="Loading the player" /></main>}>
          <PlayerPage key={`${query.get("tenant")}/${id}`} id={id} tenant={query.get("tenant")} startAt={query.get("t")} />
        </Suspense>
      ) : path === "/" ? <LibraryPage /> : isAdmin(path) ? (
        <Suspense fallback={<main class="page centred" id="content"><Spinner label="Loading the page" /></main>}>
          {path === KEYS ? <KeysPage /> : <AuditPage />}
        </Suspense>
      ) : <NotFound />}
      <Announcer />
    </>
  );
}

function TopBar() {
  const open = useSignal(false);
  const close = useCallback(() => { open.value = false; }, [open]);
  const who = session.value;
  return (
    <header class="top-bar">
      <a class="brand" href="/" onClick={follow} aria-label="Keyreel library"><Mark /><span>Keyreel</span></a>
      <nav class="top-nav" aria-label="Main"><PageLinks /></nav>
      <div class="top-end">
        <ThemeButton />
        <div class="anchor">
          <button type="button" class="account" aria-expanded={open.value} onClick={() => { open.value = !open.value; }}>
            <span class="avatar" aria-hidden="true">{initials(who?.name ?? "")}</span>
            <span class="visually-hidden">Account: </span><span class="account-name">{who?.name}</span>
          </button>
          <Popover open={open.value} onClose={close} class="account-menu" label="Account">
            <p class="account-who"><strong>{who?.name}</strong></p>
            <nav class="account-nav narrow-only" aria-label="Pages"><PageLinks onFollow={close} /></nav>
            <ul class="account-tenants">
              {who?.tenants.map((tenant) => (
                <li key={tenant.id}><span>{tenant.name}</span><span class="muted">{tenant.role}</span></li>
              ))}
            </ul>
            <button type="button" class="button wide" onClick={() => { close(); forget(); void signOut(); }}>
              <SignOut /> Sign out
            </button>
          </Popover>
        </div>
      </div>
    </header>
  );
}

/* The pages that the roles of whoever is signed in open. */
function PageLinks({ onFollow }: { onFollow?: () => void }) {
  const pages = [{ path: "/", name: "Recordings" }];
  if (tenantsWith("admin").length > 0) pages.push({ path: KEYS, name: "Encryption keys" });
  if (tenantsWith("supervisor").length > 0) pages.push({ path: AUDIT, name: "Audit" });
  return (
    <>
      {pages.map(({ path, name }) => (
        <a key={path} href={path} aria-current={place.value.path === path ? "page" : undefined} onClick={(event) => { follow(event); onFollow?.(); }}>{name}</a>
      ))}
    </>
  );
}

function isAdmin(path: string): boolean {
  return path === KEYS || path === AUDIT;
}

const KEYS = "/admin/encryption-keys";
const AUDIT = "/admin/audit";

export function ThemeButton() {
  return (
    <button type="button" class="button ghost square" onClick={toggleTheme} data-testid="theme">
      {dark.value ? <Sun /> : <Moon />}
      <span class="visually-hidden">{dark.value ? "Use light colours" : "Use dark colours"}</span>
    </button>
  );
}

function NotFound() {
  return (
    <main class="page centred" id="content">
      <div class="empty">
        <h1>There is no such page</h1>
        <p><a class="button" href="/" onClick={follow}>Go to the recordings</a></p>
      </div>
    </main>
  );
}

function initials(name: string): string {
  return name.split(/\s+/).map((part) => part.charAt(0)).slice(0, 2).join("").toUpperCase();
}
