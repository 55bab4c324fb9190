/* What went wrong, and whose turn it is. A problem+json answer (RFC 9457) or a failed connection
   becomes a `Problem`; `explain` puts it into words that a listener can act on.
   Not for: deciding when to try again (player/engine/recovery.ts). */

export interface ProblemBody {
  title?: string;
  status?: number;
  detail?: string;
  code?: string;
  retryAfterSeconds?: number;
  requestId?: string;
  /* Where a key cannot be had: which provider was to open it, and whose turn it is. */
  provider?: string;
  turn?: string;
}

export class Problem extends Error {
  readonly code: string;
  readonly status: number;
  readonly detail: string;
  readonly retryAfterSeconds: number | undefined;
  readonly requestId: string | undefined;
  readonly provider: string | undefined;
  readonly turn: string | undefined;

  constructor(body: ProblemBody & { code: string; status: number }) {
    super(body.title ?? body.code);
    this.name = "Problem";
    this.code = body.code;
    this.status = body.status;
    this.detail = body.detail ?? "";
    this.retryAfterSeconds = body.retryAfterSeconds;
    this.requestId = body.requestId;
    this.provider = body.provider;
    this.turn = body.turn;
  }

  /* Whether the same request may succeed later without anybody doing anything. */
  get passing(): boolean {
    return PASSING.has(this.code);
  }
}

export type Turn = "you" | "your administrator" | "your key service" | "Keyreel" | "nobody";

export interface Explanation {
  title: string;
  advice: string;
  turn: Turn;
}

export function explain(problem: Problem): Explanation {
  const known = EXPLANATIONS[problem.code];
  if (known) return problem.turn ? explainKey(problem, known) : known;
  if (problem.status >= 500) return EXPLANATIONS["internal"]!;
  return {
    title: problem.message || "That did not work",
    advice: problem.detail || "Try again. If it happens again, tell your administrator.",
    turn: "you",
  };
}

/* The server knows who keeps the key, and its words say what that one can do: they are shown as
   they are. */
function explainKey(problem: Problem, known: Explanation): Explanation {
  const keeper = keeperOf(problem.provider);
  return {
    title: keeper ? known.title.replace("Your key service", keeper) : known.title,
    advice: problem.detail || known.advice,
    turn: TURNS[problem.turn ?? ""] ?? known.turn,
  };
}

function keeperOf(provider: string | undefined): string | undefined {
  switch (provider) {
    case "managed": return "Keyreel's key store";
    case "lkm": return "Your Local Key Manager";
    case "aws-kms": return "AWS KMS";
    default: return undefined;
  }
}

const TURNS: Record<string, Turn> = {
  "key-owner": "your key service",
  "administrator": "your administrator",
  "operator": "Keyreel",
};

/* Any answer that is not a success. Bodies that are not problem+json (a proxy's page, say) fall
   back on the status. */
export async function problemFromResponse(response: Response): Promise<Problem> {
  let body: ProblemBody = {};
  if (/[/+]json\b/.test(response.headers.get("content-type") ?? "")) {
    try {
      body = (await response.json()) as ProblemBody;
    } catch {
      // A body cut short says no more than the status does.
    }
  }
  return problemOf(response.status, response.headers.get("retry-after"), body);
}

export function problemOf(status: number, retryAfter: string | null, body: ProblemBody): Problem {
  const seconds = body.retryAfterSeconds ?? parseRetryAfter(retryAfter);
  const code = typeof body.code === "string" ? body.code : codeOfStatus(status);
  return new Problem({ ...body, code, status, retryAfterSeconds: seconds });
}

export function problemFromError(error: unknown): Problem {
  if (error instanceof Problem) return error;
  // A fault of these pages; the console keeps what the listener need not read.
  console.error(error);
  return new Problem({ code: "page", status: 0, title: "Something failed in this page" });
}

/* Retry-After as RFC 9110 has it: seconds or a date. */
export function parseRetryAfter(value: string | null, now = Date.now()): number | undefined {
  if (!value) return undefined;
  const text = value.trim();
  if (/^\d+$/.test(text)) return Number(text);
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
}

function codeOfStatus(status: number): string {
  switch (status) {
    case 400: return "bad-request";
    case 401: return "unauthenticated";
    case 403: return "denied";
    case 404: return "not-found";
    case 410: return "destroyed";
    case 422: return "integrity";
    case 429: return "throttled";
    case 502: return "bad-gateway";
    case 503: return "unreachable";
    case 504: return "timeout";
    default: return status >= 500 ? "internal" : "bad-request";
  }
}

const PASSING = new Set([
  "throttled", "unavailable", "circuit-open", "timeout", "bad-gateway", "unreachable",
  "audit-unavailable", "internal", "offline", "media", "too-many-streams",
]);

const EXPLANATIONS: Record<string, Explanation> = {
  "unauthenticated": {
    title: "You are signed out",
    advice: "Sign in again to go on listening. You will come back to this place.",
    turn: "you",
  },
  "denied": {
    title: "You may not hear this",
    advice: "Your account does not cover this recording. Ask your administrator if it should.",
    turn: "your administrator",
  },
  "key-denied": {
    title: "Your key service refused",
    advice:
      "Keyreel asked for this recording's key and your key service said no. Whoever runs it can see why in its log.",
    turn: "your key service",
  },
  "key-disabled": {
    title: "The key is disabled",
    advice:
      "This recording's key has been switched off where it is kept. It plays again as soon as the key is enabled.",
    turn: "your key service",
  },
  "key-not-found": {
    title: "The key was not found",
    advice:
      "Your key service does not know the key that this recording is sealed with. Ask your administrator to check that old keys were kept.",
    turn: "your key service",
  },
  "not-found": {
    title: "No such recording",
    advice: "It does not exist, or it belongs to an organisation that you have no role in.",
    turn: "you",
  },
  "ambiguous": {
    title: "Which organisation's recording?",
    advice: "Several of your organisations have a recording of this id. Open it from the list of recordings.",
    turn: "you",
  },
  "too-many-streams": {
    title: "It is playing in too many places",
    advice: "This recording was opened many times at once. Close other players; Keyreel tries again by itself.",
    turn: "you",
  },
  "destroyed": {
    title: "Keyreel cannot open this recording any more",
    advice: "Its organisation's keys are gone. Unless that was meant, restore the keystore.",
    turn: "your administrator",
  },
  "conflict": {
    title: "It conflicts with the present state",
    advice: "Something of this name is there already, or it was changed meanwhile. Look at it, and try again if it is still to be done.",
    turn: "you",
  },
  "key-in-use": {
    title: "Recordings still need this key",
    advice: "Re-wrap them to the current key first, or confirm their loss.",
    turn: "you",
  },
  "integrity": {
    title: "This recording is damaged",
    advice:
      "The sealed file does not match its seal, so Keyreel plays none of it. Your administrator can restore it from a backup.",
    turn: "your administrator",
  },
  "throttled": {
    title: "Your key service is busy",
    advice: "Too many keys were asked for at once. Keyreel tries again by itself.",
    turn: "your key service",
  },
  "unavailable": {
    title: "Your key service did not answer",
    advice: "The recording is safe, only its key cannot be had now. Keyreel tries again by itself.",
    turn: "your key service",
  },
  "circuit-open": {
    title: "Your key service keeps failing",
    advice: "Keyreel gives it a moment before asking again.",
    turn: "your key service",
  },
  "timeout": {
    title: "Your key service took too long",
    advice: "It did not answer in time. Keyreel tries again by itself.",
    turn: "your key service",
  },
  "provider-malformed": {
    title: "Your key service gave an answer that cannot be used",
    advice: "Whoever runs it should look at its version and settings.",
    turn: "your key service",
  },
  "config": {
    title: "The key provider is set up wrongly",
    advice: "Your administrator can test its settings on the Encryption keys page.",
    turn: "your administrator",
  },
  "audit-unavailable": {
    title: "Keyreel cannot write its audit log",
    advice: "Nothing is played without a record of it. Keyreel tries again by itself.",
    turn: "Keyreel",
  },
  "bad-gateway": {
    title: "Keyreel could not be reached",
    advice: "Something between you and Keyreel failed. It tries again by itself.",
    turn: "Keyreel",
  },
  "unreachable": {
    title: "Keyreel is not ready",
    advice: "The server is starting, stopping or overloaded. It tries again by itself.",
    turn: "Keyreel",
  },
  "offline": {
    title: "No connection to Keyreel",
    advice: "Check your network. Playback goes on from here when the connection is back.",
    turn: "you",
  },
  "media": {
    title: "Playback stopped",
    advice: "The sound could not be read any further from here.",
    turn: "Keyreel",
  },
  "unsupported": {
    title: "This browser cannot play the recording's format",
    advice: "Another browser may: current Chrome, Edge and Firefox play all that Keyreel stores.",
    turn: "you",
  },
  "bad-credentials": {
    title: "Name or password is wrong",
    advice: "Check both and try again.",
    turn: "you",
  },
  "page": {
    title: "Something failed in this page",
    advice: "Load the page again. If it happens again, tell your administrator.",
    turn: "you",
  },
  "internal": {
    title: "Something failed inside Keyreel",
    advice: "It was logged. If it happens again, give your administrator the reference below.",
    turn: "Keyreel",
  },
};
