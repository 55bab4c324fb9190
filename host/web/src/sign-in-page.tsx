/* Signing in: by name and password, or by a link whose secret is in the fragment, which no server
   log sees. Not for: other identity providers. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import * as api from "./api/client";
import { explain, Problem, problemFromError } from "./api/problem";
import { ThemeButton } from "./app";
import { go, safeNext } from "./router";
import { session } from "./state/session";
import { Alert, Mark } from "./ui/icons";
import { Spinner } from "./ui/parts";

export function SignInPage({ next }: { next: string | null }) {
  const busy = useSignal<"no" | "form" | "link">("no");
  const problem = useSignal<Problem | null>(null);

  async function signIn(credentials: api.Credentials) {
    busy.value = "link" in credentials ? "link" : "form";
    problem.value = null;
    try {
      session.value = await api.signIn(credentials);
      go(safeNext(next), "replace");
    } catch (error) {
      problem.value = signInProblem(problemFromError(error), credentials);
      busy.value = "no";
    }
  }

  useEffect(() => {
    document.title = "Sign in – Keyreel";
    const followLink = () => {
      const link = new URLSearchParams(location.hash.slice(1)).get("link");
      if (!link) return;
      // Out of the address bar and the history before anything else happens.
      history.replaceState(null, "", location.pathname + location.search);
      void signIn({ link });
    };
    followLink();
    addEventListener("hashchange", followLink);
    return () => removeEventListener("hashchange", followLink);
  }, []);

  function submit(event: SubmitEvent) {
    event.preventDefault();
    const data = new FormData(event.currentTarget as HTMLFormElement);
    void signIn({ name: String(data.get("name") ?? "").trim(), password: String(data.get("password") ?? "") });
  }

  const words = problem.value && explain(problem.value);
  return (
    <main class="sign-in" id="content">
      <div class="sign-in-theme"><ThemeButton /></div>
      <div class="sign-in-card">
        <div class="sign-in-brand"><Mark size={40} /></div>
        <h1>Sign in to Keyreel</h1>
        <p class="muted">Recordings, sealed under keys that stay with their owner.</p>
        {words && (
          <p class="form-problem" role="alert" data-testid="sign-in-problem">
            <Alert size={20} /><span><strong>{words.title}.</strong> {words.advice}</span>
          </p>
        )}
        {busy.value === "link" ? (
          <p class="sign-in-wait"><Spinner label="Signing you in" /> Signing you in…</p>
        ) : (
          <form onSubmit={submit} data-testid="sign-in-form">
            <label class="field">
              <span>Name</span>
              <input class="input" name="name" autocomplete="username" autocapitalize="none" spellcheck={false} required autofocus />
            </label>
            <label class="field">
              <span>Password</span>
              <input class="input" name="password" type="password" autocomplete="current-password" required />
            </label>
            <button class="button primary wide large" type="submit" disabled={busy.value === "form"}>
              {busy.value === "form" ? "Signing in…" : "Sign in"}
            </button>
          </form>
        )}
      </div>
      <p class="sign-in-foot muted">Every play is written to the audit log.</p>
    </main>
  );
}

function signInProblem(problem: Problem, credentials: api.Credentials): Problem {
  if (problem.code !== "unauthenticated" && problem.code !== "denied") return problem;
  if ("link" in credentials) {
    return new Problem({
      code: "link-ended", status: problem.status, title: "This sign-in link no longer works",
      detail: "It may have expired. Ask for a new one, or sign in with your name and password.",
    });
  }
  return new Problem({ code: "bad-credentials", status: problem.status });
}
