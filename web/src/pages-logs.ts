// What a container's command wrote: the last lines, then each as it comes. The end is followed
// until the reader scrolls away from it.

const KEPT = 5000;
const TAIL = 2000;
/** Milliseconds until a stream that has ended is asked for again. */
const RETRY = 500;

type Stream = "tty" | "stdout" | "stderr";

// Colours and cursor movements mean nothing in a list of lines; whatever else would not be seen is
// shown by its picture.
const SEQUENCES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\^_])/g;
const CONTROLS = /[\u0000-\u0008\u000a-\u001f\u007f]/g;

/** A line without sequences for a terminal, its other control characters made visible. */
export function readable(line: string): string {
  return line
    .replace(SEQUENCES, "")
    .replace(/\r+$/, "")
    .replace(CONTROLS, (c) => (c === "\u007f" ? "\u2421" : String.fromCharCode(0x2400 + c.charCodeAt(0))));
}

class Tail {
  private follow = true;
  private readonly waiting: HTMLElement[] = [];
  private count = 0;

  constructor(
    private readonly pre: HTMLElement,
    private readonly state: HTMLElement | null,
    private readonly lines: HTMLElement | null,
    private readonly box: HTMLInputElement | null,
  ) {
    pre.addEventListener("scroll", () => this.setFollow(this.atEnd()), { passive: true });
    box?.addEventListener("change", () => {
      this.follow = box.checked;
      if (this.follow) this.toEnd();
    });
  }

  add(stream: Stream, line: string): void {
    const element = document.createElement("span");
    element.className = stream;
    element.textContent = `${readable(line)}\n`;
    this.waiting.push(element);
    // A flood is written once a frame, not once a line.
    if (this.waiting.length === 1) requestAnimationFrame(() => this.write());
  }

  say(text: string): void {
    if (this.state !== null) this.state.textContent = text;
  }

  clear(): void {
    this.waiting.length = 0;
    this.count = 0;
    this.pre.replaceChildren();
  }

  private write(): void {
    this.count += this.waiting.length;
    this.pre.append(...this.waiting.splice(0).slice(-KEPT));
    for (let extra = this.pre.childElementCount - KEPT; extra > 0; extra -= 1) this.pre.firstChild?.remove();
    if (this.lines !== null) {
      const kept = this.pre.childElementCount;
      this.lines.textContent = this.count > kept ? `last ${kept} lines` : `${kept} ${kept === 1 ? "line" : "lines"}`;
    }
    if (this.follow) this.toEnd();
  }

  private atEnd(): boolean {
    return this.pre.scrollHeight - this.pre.scrollTop - this.pre.clientHeight < 8;
  }

  private toEnd(): void {
    this.pre.scrollTop = this.pre.scrollHeight;
  }

  private setFollow(follow: boolean): void {
    this.follow = follow;
    if (this.box !== null) this.box.checked = follow;
  }
}

function runs(): boolean {
  return document.querySelector("#head .state.running, #head .state.paused") !== null;
}

function follow(tail: Tail, source: string): void {
  const events = new EventSource(`${source}?follow=true&tail=${TAIL}`);
  let opened = false;
  events.addEventListener("open", () => {
    opened = true;
    tail.clear();
    tail.say("live");
  });
  for (const stream of ["tty", "stdout", "stderr"] as const) {
    events.addEventListener(stream, (event) => tail.add(stream, (event as MessageEvent<string>).data));
  }
  // A browser opens six streams to one server at most: a page that nobody sees gives its own back.
  const look = (): void => {
    if (!document.hidden) return;
    end();
    document.addEventListener("visibilitychange", () => follow(tail, source), { once: true });
  };
  const end = (): void => {
    events.close();
    document.removeEventListener("visibilitychange", look);
  };
  document.addEventListener("visibilitychange", look);
  // An engine's log has ended, or it could not go on, and says why.
  let over: string | null = null;
  events.addEventListener("over", (event) => {
    over = (event as MessageEvent<string>).data;
    if (over === "") return;
    end();
    failed(tail, source, over);
  });
  events.addEventListener("error", () => {
    end();
    if (over !== null && over !== "") return;
    if (!opened) return void refused(tail, source);
    tail.say("reconnecting");
    // What the container does now arrives by another stream, and may be a moment later.
    setTimeout(() => whenItRuns(tail, () => follow(tail, source)), RETRY);
  });
}

/** Milliseconds until an engine that did not answer is asked again. */
const PATIENCE = 5000;

/** Asks why there is no log; a stream of events does not tell. */
async function refused(tail: Tail, source: string): Promise<void> {
  const answer = await fetch(`${source}?tail=0`, { headers: { Accept: "application/json" } }).catch(() => null);
  const error = answer === null || answer.ok ? null : ((await answer.json().catch(() => null)) as { error?: { message?: string } } | null);
  const message = error?.error?.message;
  if (message !== undefined) return failed(tail, source, message);
  tail.say("reconnecting");
  setTimeout(() => whenItRuns(tail, () => follow(tail, source)), RETRY);
}

function failed(tail: Tail, source: string, why: string): void {
  tail.say(`not read, it is tried again: ${why}`);
  setTimeout(() => follow(tail, source), PATIENCE);
}

function whenItRuns(tail: Tail, then: () => void): void {
  if (runs()) return then();
  tail.say("ended: it does not run");
  // Its next start goes on in the same log.
  document.addEventListener("htmx:after:swap", function again() {
    if (!runs()) return;
    document.removeEventListener("htmx:after:swap", again);
    then();
  });
}

/** Starts the page's log, where it has one. */
export function startLogs(): void {
  const pre = document.getElementById("log");
  const source = pre?.dataset["source"];
  if (pre === null || source === undefined) return;
  const box = document.getElementById("follow");
  const tail = new Tail(
    pre,
    document.getElementById("log-state"),
    document.getElementById("log-lines"),
    box instanceof HTMLInputElement ? box : null,
  );
  follow(tail, source);
  const buttons = [...document.querySelectorAll<HTMLButtonElement>("button[data-stream]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      pre.dataset["show"] = button.dataset["stream"] ?? "";
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    });
  }
}
