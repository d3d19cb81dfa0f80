// Whether the page is current: a strip below the header while the stream of changes is down.

declare const htmx: { config: { morphIgnore: string[] } };

// What somebody has opened stays open when what is in it changes.
htmx.config.morphIgnore.push("open");

function isLive(event: Event): boolean {
  return event.target instanceof Element && event.target.id === "live";
}

let waiting: number | undefined;

function away(): void {
  // A server that is back within a moment is not worth a word.
  waiting ??= setTimeout(() => document.getElementById("away")?.removeAttribute("hidden"), 700);
}

function back(): void {
  clearTimeout(waiting);
  waiting = undefined;
  document.getElementById("away")?.setAttribute("hidden", "");
}

// The server need not send again what the page was made with; but when the page comes back it shows
// something else by now, and this says so.
document.addEventListener("htmx:sse:before:connection", (event) => {
  type Detail = { connection: { attempt: number; lastEventId: string } };
  const { connection } = (event as CustomEvent<Detail>).detail;
  if (isLive(event) && connection.attempt > 0) connection.lastEventId = "back";
});

document.addEventListener("htmx:sse:after:connection", (event) => {
  if (isLive(event)) back();
});

document.addEventListener("htmx:sse:error", (event) => {
  if (!isLive(event)) return;
  const status = (event as CustomEvent<{ status?: number }>).detail.status;
  // Signed out, here or elsewhere: the server sends the page to where one signs in.
  if (status === 401) location.reload();
  else away();
});

// htmx reconnects a stream that has once stood; one whose first request failed it leaves.
document.addEventListener("htmx:error", (event) => {
  if (!isLive(event)) return;
  away();
  const element = event.target as HTMLElement;
  setTimeout(() => element.dispatchEvent(new Event("load")), 1000);
});

export {};
