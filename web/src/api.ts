// Porthole's JSON interface, as far as the terminal page needs it.

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

  open(container: string, cols: number, rows: number): Promise<Session> {
    return this.#call("POST", `/containers/${encodeURIComponent(container)}/sessions`, { tty: true, cols, rows });
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
    );
  }
}
