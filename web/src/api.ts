// Porthole's JSON interface, as far as the terminal page needs it.

/** The eight kinds of namespace, in the order in which they are always shown. */
export const NAMESPACES = ["mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time"] as const;
export type NamespaceType = (typeof NAMESPACES)[number];

/** A namespace that a session is in, and whose it is. */
export interface Joined {
  readonly inode: number | null;
  readonly whose: "host" | "container" | "session";
}

/** A line of how a session compares with the first process of its container. */
export interface FidelityLine {
  readonly aspect: string;
  readonly verdict: "equal" | "weaker" | "stronger" | "unknown";
  readonly init: string;
  readonly session: string;
  readonly words: string;
}

/** How a session is to be opened, where that is not as usual. */
export interface Manner {
  readonly join?: readonly NamespaceType[];
  readonly user?: string;
  readonly workdir?: string;
  readonly command?: readonly string[];
  readonly toolbox?: { readonly image: string };
  /** In what it may be less confined than its container. */
  readonly accept?: readonly string[];
}

/** A session, as `GET /api/v1/sessions/{id}` tells it. */
export interface Session {
  readonly id: string;
  readonly container: string;
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly tty_name?: string | null;
  readonly state: "running" | "exited";
  readonly host_pid: number | null;
  readonly container_pid: number | null;
  readonly joined?: Readonly<Record<NamespaceType, Joined>> | null;
  readonly fidelity?: readonly FidelityLine[] | null;
}

/** What the interface answered instead. */
export class Refusal extends Error {
  constructor(
    /** The HTTP status; 0 where nothing answered. */
    readonly status: number,
    message: string,
    /** Where it went wrong, and what the kernel answered, where it did. */
    readonly stage: string | null = null,
    readonly errno: string | null = null,
    /** For programs: `less_confined`. */
    readonly code: string | null = null,
    /** How the session would compare with its container. */
    readonly fidelity: readonly FidelityLine[] = [],
    /** Shells that were looked for. */
    readonly tried: readonly { readonly path: string; readonly why: string }[] = [],
  ) {
    super(message);
  }
}

export class Api {
  /** `base` is the base path without a slash at its end. */
  constructor(private readonly base: string) {}

  session(id: string): Promise<Session> {
    return this.#call("GET", `/sessions/${encodeURIComponent(id)}`);
  }

  /** Opens a session at this place below `/api/v1`. */
  open(place: string, cols: number, rows: number, manner: Manner): Promise<Session> {
    return this.#call("POST", place, { tty: true, cols, rows, ...manner });
  }

  async end(id: string): Promise<void> {
    await this.#call("DELETE", `/sessions/${encodeURIComponent(id)}`);
  }

  /** The HTTP status of a session, without its body; `null` where nothing answers. */
  async status(id: string): Promise<number | null> {
    try {
      return (await this.#fetch("GET", `/sessions/${encodeURIComponent(id)}`)).status;
    } catch {
      return null;
    }
  }

  /** Where a terminal attaches. */
  attach(id: string): string {
    const url = new URL(`${this.base}/api/v1/sessions/${encodeURIComponent(id)}/attach`, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return url.href;
  }

  #fetch(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(`${this.base}/api/v1${path}`, {
      method,
      cache: "no-store",
      headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    let response: Response;
    try {
      response = await this.#fetch(method, path, body);
    } catch {
      throw new Refusal(0, "Porthole does not answer. It may be restarting, or the network is away.");
    }
    const answer: unknown = response.status === 204 ? null : await response.json().catch(() => null);
    if (response.ok) return answer as T;
    const error = (answer as { error?: Record<string, unknown> } | null)?.error ?? {};
    const word = (name: string): string | null => (error[name] == null ? null : String(error[name]));
    throw new Refusal(
      response.status,
      word("message") ?? `Porthole answered ${response.status} ${response.statusText}`.trim(),
      word("stage"),
      word("errno"),
      word("code"),
      list(error["fidelity"]) as FidelityLine[],
      list(error["tried"]) as { path: string; why: string }[],
    );
  }
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
