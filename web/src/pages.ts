// The small scripts of the pages. Everything works on what bubbles up to the document, so that it
// holds for what arrives later; whatever a live change has replaced is put right after the swap.

import { showChosen } from "./pages-choose.ts";
import "./pages-dialogs.ts";
import { lightEqual } from "./pages-equal.ts";
import "./pages-filter.ts";
import { followImport } from "./pages-import.ts";
import "./pages-keys.ts";
import "./pages-live.ts";
import { startLogs } from "./pages-logs.ts";
import { lightMap } from "./pages-map.ts";
import { writeAges } from "./pages-time.ts";
import { followWires } from "./pages-wires.ts";

function afterChange(): void {
  writeAges();
  lightMap();
  lightEqual();
  showChosen();
  followWires();
  followImport();
}

// The one-time code of the first start stands behind '#', which no server and no log sees. It is
// taken out of the address, so that it does not stay in the browser's history.
function takeCode(): void {
  const field = document.querySelector<HTMLInputElement>("[data-from-hash]");
  const code = decodeURIComponent(location.hash.slice(1));
  if (field === null || code === "") return;
  field.value = code;
  history.replaceState(null, "", location.pathname + location.search);
  document.querySelector<HTMLElement>("#password")?.focus();
}

function themeChoice(): void {
  const choices = [...document.querySelectorAll<HTMLInputElement>("[data-theme-choice]")];
  if (choices.length === 0) return;
  const now = document.documentElement.dataset["theme"] ?? "system";
  for (const choice of choices) {
    choice.checked = choice.value === now;
    choice.addEventListener("change", () => {
      if (choice.value === "system") {
        localStorage.removeItem("porthole-theme");
        delete document.documentElement.dataset["theme"];
      } else {
        localStorage.setItem("porthole-theme", choice.value);
        document.documentElement.dataset["theme"] = choice.value;
      }
    });
  }
}

// A form is sent once: its buttons rest until the next page is there, or this one is shown again.
function sendOnce(): void {
  const resting = new Set<HTMLButtonElement>();
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || !(form instanceof HTMLFormElement) || form.method !== "post") return;
    // After what is sent has been gathered: a resting button would not be part of it.
    setTimeout(() => {
      for (const button of form.querySelectorAll("button")) {
        button.disabled = true;
        resting.add(button);
      }
    });
  });
  window.addEventListener("pageshow", () => {
    for (const button of resting) button.disabled = false;
    resting.clear();
  });
}

function start(): void {
  // A form that came back: at the first thing that is wrong with it.
  document.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
  document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  takeCode();
  window.addEventListener("hashchange", takeCode);
  themeChoice();
  startLogs();
  sendOnce();
  afterChange();
  document.addEventListener("htmx:after:swap", afterChange);
  document.addEventListener("htmx:after:settle", afterChange);
  setInterval(writeAges, 5000);
  document.addEventListener("change", (event) => {
    if (event.target instanceof HTMLSelectElement && event.target.matches("[data-submit]")) {
      event.target.form?.requestSubmit();
    }
  });
}

if (document.readyState === "loading") {
  document.addEventListener("DOMContentLoaded", start);
} else {
  start();
}
