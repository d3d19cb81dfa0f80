// The terminal page beside a server that the test plays: what a person sees in states that a real
// server is seldom in, under the very rules (Content-Security-Policy) of the real page.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test, { after, before } from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openBrowser, openWindow, terminalText, until } from "../harness/browser.mjs";
import * as frames from "../harness/frames.mjs";

const ORIGIN = "http://127.0.0.1:9";
const CONTAINER = "c".repeat(64);
const SESSION = "5".repeat(32);
const CSP =
  "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; style-src-elem 'self' 'unsafe-inline'; style-src-attr 'none'; font-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const file = (path) => readFileSync(new URL(`../../../${path}`, import.meta.url));

let browser;
before(async () => {
  // The plain renderer's text can be read from the page.
  browser = await openBrowser({ webgl: false });
});
after(() => browser?.close());

const session = (id = SESSION, fields = {}) => ({
  id,
  container: CONTAINER,
  command: ["/bin/bash"],
  tty: true,
  tty_name: "/dev/pts/0",
  state: "running",
  host_pid: 7604,
  container_pid: 14,
  ...fields,
});

/** Opens the page; `play` is the server's end of every socket. */
async function scene(t, { play = () => {}, query = "", open = () => ({ status: 201, json: session() }), get, theme = "dark", viewport } = {}) {
  const window = await openWindow(browser, viewport ? { viewport } : {});
  t.after(() => window.close());
  const page = await window.newPage();
  const sockets = [];
  const requests = [];
  const asset = (name, type) => (route) => route.fulfill({ body: file(name), contentType: type });
  await page.route(`${ORIGIN}/assets/app.css`, (route) =>
    route.fulfill({
      contentType: "text/css",
      body: Buffer.concat(["tokens", "base", "components", "pages"].map((name) => file(`static/${name}.css`))),
    }),
  );
  await page.route(`${ORIGIN}/assets/terminal.css`, asset("web/dist/terminal.css", "text/css"));
  await page.route(`${ORIGIN}/assets/terminal.js`, asset("web/dist/terminal.js", "text/javascript"));
  await page.route(`${ORIGIN}/containers/web/terminal*`, (route) =>
    route.fulfill({
      contentType: "text/html; charset=utf-8",
      headers: { "Content-Security-Policy": CSP },
      body: `<!doctype html><html lang="en" data-theme="${theme}"><head><title>t</title><link rel="stylesheet" href="/assets/app.css"><link rel="stylesheet" href="/assets/terminal.css"><script src="/assets/terminal.js" defer></script></head><body class="terminal-page"><main class="wide"><h1>web</h1><div id="terminal" data-container="${CONTAINER}" data-name="web" data-session="" data-open="/containers/${CONTAINER}/sessions" data-home="/containers/web" data-base=""></div></main></body></html>`,
    }),
  );
  await page.route(`${ORIGIN}/api/v1/**`, (route) => {
    const request = route.request();
    const id = new URL(request.url()).pathname.split("/").at(-1);
    requests.push({ method: request.method(), path: new URL(request.url()).pathname, body: request.postDataJSON() });
    const answer =
      request.method() === "POST" ? open(request.postDataJSON()) : request.method() === "DELETE" ? { status: 204 } : (get?.(id) ?? { status: 200, json: session(id) });
    return answer === null ? route.abort("connectionrefused") : route.fulfill(answer);
  });
  await page.routeWebSocket(/\/attach/, (socket) => {
    const heard = [];
    socket.onMessage((message) => heard.push(frames.readClient(message)));
    const made = { url: new URL(socket.url()), heard, send: (bytes) => socket.send(bytes), close: (options) => socket.close(options) };
    sockets.push(made);
    play(made, sockets.length);
  });
  await page.goto(`${ORIGIN}/containers/web/terminal${query}`);
  return { page, window, sockets, requests, errors: window.errors };
}

const status = (page) => page.locator(".t-state").textContent();
const typedIn = ({ heard }) => heard.filter(({ type }) => type === "input").map(({ text }) => text).join("");

test("a new session gets the pane's size, its address, and what is typed", async (t) => {
  const { page, sockets, requests, errors } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello());
      socket.send(frames.snapshot(0, 80, 24, ""));
      socket.send(frames.output(0, "root@web:/# "));
    },
  });
  await until("the prompt", async () => (await terminalText(page)).includes("root@web:/#"));
  assert.equal(await status(page), "live");
  const { body, method } = requests[0];
  assert.equal(method, "POST");
  assert.equal(body.tty, true);
  assert.ok(body.cols > 100 && body.rows > 25, `${body.cols}x${body.rows}`);
  assert.equal(new URL(page.url()).searchParams.get("session"), SESSION);
  const resize = await until("the size is told", () => sockets[0].heard.find(({ type }) => type === "resize"));
  assert.deepEqual([resize.cols, resize.rows], [body.cols, body.rows]);
  await page.keyboard.type("ls -l");
  await page.keyboard.press("Enter");
  await until("what was typed arrives", () => typedIn(sockets[0]) === "ls -l\r");
  await until("the output is acknowledged", () => sockets[0].heard.some(({ type, seq }) => type === "acknowledge" && seq === 12));
  assert.match(await page.locator(".t-status").textContent(), /host 7604 · inside 14 · pts\/0/);
  assert.deepEqual(errors, []);
});

test("every key goes to the shell, and Control Shift Escape leaves it", async (t) => {
  const { page, sockets } = await scene(t, { play: (socket) => socket.send(frames.hello()) });
  await until("live", async () => (await status(page)) === "live");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.keyboard.press("Control+C");
  await until("the keys arrive", () => typedIn(sockets[0]) === "\t\x1b/\x03");
  await page.keyboard.press("Control+Shift+Escape");
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("role")), "tab");
  await page.keyboard.press("Tab");
  assert.equal(typedIn(sockets[0]), "\t\x1b/\x03");
});

test("colours beyond the sixteen are shown under the page's rules", async (t) => {
  const { page, errors } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello());
      socket.send(frames.output(0, "\x1b[38;2;250;10;200mcoloured\x1b[0m plain \x1b[48;5;22mback\x1b[0m"));
    },
  });
  const word = page.locator(".xterm-rows span", { hasText: "coloured" });
  await word.waitFor();
  const colour = await word.evaluate((element) => getComputedStyle(element).color);
  assert.equal(colour, "rgb(250, 10, 200)");
  assert.deepEqual(errors, []);
});

test("a title is text, a link asks and is http or https", async (t) => {
  const { page, errors } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello());
      socket.send(frames.output(0, "\x1b]0;<img src=x onerror=alert(1)>\x07https://example.test/a \x1b]8;;javascript:alert(2)\x07click\x1b]8;;\x07"));
    },
  });
  const tab = page.getByRole("tab");
  await until("the title", async () => (await tab.textContent()) === "<img src=x onerror=alert(1)>");
  assert.equal(await page.locator("img").count(), 0);
  const link = page.locator(".xterm-rows span", { hasText: "https://example.test/a" }).first();
  const { x, y, height } = await link.boundingBox();
  await page.mouse.move(x + 30, y + height / 2);
  await page.mouse.move(x + 40, y + height / 2);
  await page.mouse.click(x + 40, y + height / 2);
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  assert.match(await dialog.textContent(), /https:\/\/example\.test\/a/);
  await dialog.getByRole("button", { name: "Cancel" }).click();
  assert.equal(await page.getByRole("dialog").count(), 0);
  const trap = page.locator(".xterm-rows span", { hasText: "click" }).last();
  const box = await trap.boundingBox();
  await page.mouse.move(box.x + 4, box.y + 4);
  await page.mouse.click(box.x + 6, box.y + 6);
  assert.equal(await page.getByRole("dialog").count(), 0);
  assert.deepEqual(errors, []);
});

test("a paste is bracketed where the program asked, and cannot end its own brackets", async (t) => {
  const { page, sockets } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello());
      socket.send(frames.output(0, "\x1b[?2004hready"));
    },
  });
  await until("ready", async () => (await terminalText(page)).includes("ready"));
  await page.evaluate(() => {
    const data = new DataTransfer();
    data.setData("text/plain", "one\ntwo\x1b[201~rm -rf x\r");
    document.querySelector(".xterm-helper-textarea").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  });
  await until("the paste arrives", () => typedIn(sockets[0]) === "\x1b[200~one\rtwo[201~rm -rf x\r\x1b[201~");
});

test("a paste of a megabyte waits for credit and arrives whole", async (t) => {
  let arrived = "";
  const { page } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello());
      const taking = setInterval(() => {
        const text = typedIn(socket);
        if (text.length !== arrived.length) socket.send(frames.accepted(text.length));
        arrived = text;
      }, 2);
      t.after(() => clearInterval(taking));
    },
  });
  await until("live", async () => (await status(page)) === "live");
  await page.evaluate(() => {
    const data = new DataTransfer();
    data.setData("text/plain", "0123456789".repeat(100_000));
    document.querySelector(".xterm-helper-textarea").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  });
  await until("the paste arrives", () => arrived.length === 1_000_000, { within: 30_000 });
  assert.equal(arrived, "0123456789".repeat(100_000));
});

test("selected text is copied with Control Shift C", async (t) => {
  const { page, window } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello());
      socket.send(frames.output(0, "copyme"));
    },
  });
  await window.grantPermissions(["clipboard-read", "clipboard-write"], { origin: ORIGIN });
  const word = page.locator(".xterm-rows span", { hasText: "copyme" }).first();
  await word.waitFor();
  const { x, y, height } = await word.boundingBox();
  await page.mouse.dblclick(x + 10, y + height / 2);
  await page.keyboard.press("Control+Shift+C");
  await until("the clipboard has it", async () => (await page.evaluate(() => navigator.clipboard.readText())) === "copyme");
});

test("a program may fill the clipboard and never read it", async (t) => {
  const { page, window, sockets } = await scene(t, {
    play: (socket) => socket.send(frames.hello()),
  });
  await window.grantPermissions(["clipboard-read", "clipboard-write"], { origin: ORIGIN });
  await until("live", async () => (await status(page)) === "live");
  await page.evaluate(() => navigator.clipboard.writeText("a secret"));
  sockets[0].send(frames.output(0, "\x1b]52;c;?\x07\x1b[5n"));
  await until("the query beside it is answered", () => typedIn(sockets[0]).includes("\x1b[0n"));
  assert.equal(typedIn(sockets[0]), "\x1b[0n");
  sockets[0].send(frames.output(13, `\x1b]52;c;${Buffer.from("from inside").toString("base64")}\x07`));
  await until("the clipboard has it", async () => (await page.evaluate(() => navigator.clipboard.readText())) === "from inside");
});

test("text is found with Control Shift F", async (t) => {
  const { page } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello());
      socket.send(frames.output(0, "needle\r\nhay\r\nneedle\r\n"));
    },
  });
  await until("the text", async () => (await terminalText(page)).includes("hay"));
  await page.keyboard.press("Control+Shift+F");
  const field = page.getByRole("searchbox");
  await field.fill("needle");
  await until("found", async () => /of 2/.test(await page.locator(".t-count").textContent()));
  await field.fill("straw");
  await until("not found", async () => (await page.locator(".t-count").textContent()) === "none");
  await page.keyboard.press("Escape");
  assert.equal(await field.isVisible(), false);
});

test("a session that cannot be opened says why, and can be tried again", async (t) => {
  let tries = 0;
  const { page, errors } = await scene(t, {
    open: () => {
      tries += 1;
      return tries === 1
        ? { status: 422, json: { error: { code: "no_shell", message: "No shell was found: /bin/bash, /bin/ash and /bin/sh do not exist.", field: null, stage: "exec", errno: "ENOENT" } } }
        : { status: 201, json: session() };
    },
    play: (socket) => socket.send(frames.hello()),
  });
  const message = page.locator(".t-message");
  await message.waitFor();
  assert.match(await message.textContent(), /\/bin\/bash, \/bin\/ash and \/bin\/sh do not exist/);
  assert.match(await message.textContent(), /exec: ENOENT/);
  await page.getByRole("button", { name: "Try again" }).click();
  await until("live", async () => (await status(page)) === "live");
  assert.deepEqual(errors.filter((text) => !text.includes("422")), []);
});

test("an ended session says its exit code, and Enter starts a new one", async (t) => {
  let opened = 0;
  const { page, sockets } = await scene(t, {
    open: () => ({ status: 201, json: session(String(++opened).repeat(32)) }),
    play: (socket, number) => {
      socket.send(frames.hello({ viewer: `v${number}` }));
      socket.send(frames.output(0, `session ${number}`));
    },
  });
  await until("live", async () => (await status(page)) === "live");
  sockets[0].send(frames.exit(3, 0, ""));
  await until("ended", async () => (await status(page)) === "ended (exit code 3)");
  await page.keyboard.press("Enter");
  await until("a new one", async () => (await terminalText(page)).includes("session 2"));
  assert.equal(await status(page), "live");
  assert.equal((await terminalText(page)).includes("session 1"), false);
  assert.equal(new URL(page.url()).searchParams.get("session"), "2".repeat(32));
});

test("a dropped connection goes on where it was", async (t) => {
  const { page, sockets } = await scene(t, {
    play: (socket, number) => {
      if (number === 1) {
        socket.send(frames.hello());
        socket.send(frames.output(0, "one "));
      } else {
        socket.send(frames.hello({ seq: 4 }));
        socket.send(frames.output(4, "two"));
      }
    },
  });
  await until("one", async () => (await terminalText(page)).includes("one"));
  sockets[0].close({ code: 1012 });
  await until("two", async () => (await terminalText(page)).includes("one two"));
  assert.equal(sockets[1].url.searchParams.get("resume"), "4");
  assert.equal(sockets[1].url.searchParams.get("viewer"), "v1");
});

test("a reload is the same viewer of the same session, and takes the screen", async (t) => {
  const { page, sockets, requests } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello({ seq: 5, accepted: 2 }));
      socket.send(frames.snapshot(5, 80, 24, "screen"));
    },
  });
  await until("the screen", async () => (await terminalText(page)).includes("screen"));
  await page.reload();
  await until("the screen again", async () => (await terminalText(page)).includes("screen"));
  assert.equal(requests.filter(({ method }) => method === "POST").length, 1);
  assert.equal(sockets[1].url.searchParams.get("viewer"), "v1");
  assert.equal(sockets[1].url.searchParams.get("resume"), null);
  await page.keyboard.type("x");
  await until("input counts on", () => sockets[1].heard.some(({ type, seq }) => type === "input" && seq === 2));
});

test("who does not drive is shown another's size, answers no queries, and may take over", async (t) => {
  const { page, sockets } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello({ cols: 240, rows: 70, flags: frames.WRITES | frames.TTY }));
      socket.send(frames.viewers([{ user: "ann", mode: "write", drives: true }, { user: "bob", mode: "write", drives: false }]));
      socket.send(frames.snapshot(0, 240, 70, `${"w".repeat(240)}\x1b[6n\x1b[c\x1b]11;?\x07\x1b[?2026$p`));
    },
  });
  await until("another's size", async () => (await page.locator(".t-status").textContent()).includes("240×70"));
  assert.equal(await page.locator(".t-watching").textContent(), "2 watching, ann drives");
  await until("the whole width is seen", async () =>
    page.evaluate(() => {
      const screen = document.querySelector(".xterm-screen").getBoundingClientRect();
      return screen.width <= document.querySelector(".t-pane").getBoundingClientRect().width + 1;
    }),
  );
  await page.getByRole("button", { name: "Use my size" }).click();
  await until("driving is taken", () => sockets[0].heard.some(({ type }) => type === 0x04));
  assert.equal(typedIn(sockets[0]), "");
  assert.equal(sockets[0].heard.some(({ type }) => type === "resize"), false);
  sockets[0].send(frames.hello({ cols: 240, rows: 70 }));
  const resize = await until("this window's size", () => sockets[0].heard.find(({ type }) => type === "resize"));
  assert.ok(resize.cols < 240);
});

test("a watcher's terminal sends nothing at all", async (t) => {
  const { page, sockets } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello({ flags: frames.TTY }));
      socket.send(frames.output(0, "look\x1b[6n\x1b[c"));
    },
  });
  await until("look", async () => (await terminalText(page)).includes("look"));
  await page.keyboard.type("abc");
  await until("acknowledged", () => sockets[0].heard.some(({ type }) => type === "acknowledge"));
  assert.equal(typedIn(sockets[0]), "");
});

test("the window's size is told when it changes", async (t) => {
  const { page, sockets } = await scene(t, { play: (socket) => socket.send(frames.hello()) });
  const first = await until("a size", () => sockets[0]?.heard.find(({ type }) => type === "resize"));
  await page.setViewportSize({ width: 800, height: 500 });
  const last = await until("another size", () => sockets[0].heard.filter(({ type, cols }) => type === "resize" && cols < first.cols).at(-1));
  assert.ok(last.rows < first.rows);
  sockets[0].send(frames.size(last.cols, last.rows));
  await until("the server's size is taken", async () => (await page.locator(".t-status").textContent()).includes(`${last.cols}×${last.rows}`));
});

test("signed out says so and offers to sign in", async (t) => {
  const { page, sockets } = await scene(t, { play: (socket) => socket.send(frames.hello()) });
  await until("live", async () => (await status(page)) === "live");
  sockets[0].close({ code: 4401 });
  const link = page.getByRole("link", { name: "Sign in" });
  await link.waitFor();
  assert.match(await link.getAttribute("href"), /^\/login\?next=%2Fcontainers%2Fweb%2Fterminal/);
});

test("a reload while the server is started again waits for it", async (t) => {
  let asked = 0;
  const { page } = await scene(t, {
    query: `?session=${SESSION}`,
    get: (id) => (++asked < 3 ? { status: 503, json: { error: { code: "keeper_away", message: "away" } } } : { status: 200, json: session(id) }),
    play: (socket) => socket.send(frames.hello()),
  });
  await until("live", async () => (await status(page)) === "live");
  assert.equal(asked, 3);
});

test("a session that is gone offers a new one", async (t) => {
  const { page, requests } = await scene(t, {
    query: `?session=${SESSION}`,
    get: () => ({ status: 404, json: { error: { code: "session_not_found", message: "no" } } }),
    open: () => ({ status: 201, json: session("7".repeat(32)) }),
    play: (socket) => socket.send(frames.hello()),
  });
  await page.getByRole("button", { name: "Open a new session" }).click();
  await until("live", async () => (await status(page)) === "live");
  assert.deepEqual(requests.map(({ method }) => method), ["GET", "POST"]);
});

test("several sessions are tabs; arrows go through them; closing a running one asks", async (t) => {
  let opened = 0;
  const { page, requests } = await scene(t, {
    open: () => ({ status: 201, json: session(String(++opened).repeat(32), { command: [`/bin/sh${opened}`] }) }),
    get: (id) => ({ status: 200, json: session(id, { command: [`/bin/sh${id[0]}`] }) }),
    play: (socket) => socket.send(frames.hello()),
  });
  await until("live", async () => (await status(page)) === "live");
  await page.getByRole("button", { name: "New session" }).click();
  await until("two tabs", async () => (await page.getByRole("tab", { selected: true }).textContent()) === "sh2");
  await until("live", async () => (await status(page)) === "live");
  await page.keyboard.press("Control+Shift+Escape");
  await page.keyboard.press("ArrowLeft");
  assert.equal(await page.getByRole("tab", { selected: true }).textContent(), "sh1");
  assert.equal(new URL(page.url()).searchParams.get("session"), "1".repeat(32));
  await page.reload();
  await until("both tabs are back", async () => (await page.getByRole("tab").count()) === 2);
  assert.equal(await page.getByRole("tab", { selected: true }).textContent(), "sh1");
  await page.getByRole("button", { name: "Close this session" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End session" }).click();
  await until("one tab", async () => (await page.getByRole("tab").count()) === 1);
  assert.deepEqual(requests.filter(({ method }) => method === "DELETE").map(({ path }) => path), [`/api/v1/sessions/${"1".repeat(32)}`]);
});

test("errors of a session without a terminal are marked, lines are edited here", async (t) => {
  const { page, sockets } = await scene(t, {
    query: `?session=${SESSION}`,
    get: (id) => ({ status: 200, json: session(id, { tty: false, tty_name: null, command: ["cat"] }) }),
    play: (socket) => {
      socket.send(frames.hello({ flags: frames.WRITES | frames.DRIVES }));
      socket.send(frames.output(0, "out\n", 1));
      socket.send(frames.output(4, "err\n", 2));
      socket.send(frames.output(8, "out", 1));
    },
  });
  const marked = page.locator(".xterm-rows span", { hasText: "err" });
  await marked.waitFor();
  assert.equal(await marked.evaluate((element) => getComputedStyle(element).fontStyle), "italic");
  assert.match(await terminalText(page), /^out\nerr\nout/);
  await page.keyboard.type("hx");
  await page.keyboard.press("Backspace");
  await page.keyboard.type("i");
  assert.equal(typedIn(sockets[0]), "");
  await page.keyboard.press("Enter");
  await until("the line arrives", () => typedIn(sockets[0]) === "hi\n");
  await page.keyboard.press("Control+D");
  await until("the end of input", () => sockets[0].heard.some(({ type }) => type === 0x05));
});

test("the screen reader mode is a switch that is remembered", async (t) => {
  const { page } = await scene(t, {
    play: (socket) => {
      socket.send(frames.hello());
      socket.send(frames.output(0, "hello reader"));
    },
  });
  const toggle = page.getByRole("button", { name: "Screen reader mode" });
  await toggle.click();
  assert.equal(await toggle.getAttribute("aria-pressed"), "true");
  await page.locator(".xterm-accessibility-tree").waitFor({ state: "attached" });
  await page.reload();
  await page.locator(".xterm-accessibility-tree").waitFor({ state: "attached" });
});

for (const theme of ["dark", "light"]) {
  for (const width of [1280, 390]) {
    test(`no accessibility violations, ${theme}, ${width} px`, async (t) => {
      const { page, errors } = await scene(t, {
        theme,
        viewport: { width, height: 800 },
        play: (socket) => {
          socket.send(frames.hello());
          socket.send(frames.output(0, "root@web:/# \x1b[31mred\x1b[0m \x1b[32mgreen\x1b[0m \x1b[34mblue\x1b[0m λ 日本 👩‍👩‍👧\r\n"));
          socket.send(frames.notice(1, "The server will restart in a minute."));
        },
      });
      await until("the text", async () => (await terminalText(page)).includes("日本"));
      await page.keyboard.press("Control+Shift+F");
      await page.screenshot({ path: new URL(`../results/terminal-alone-${theme}-${width}.png`, import.meta.url).pathname });
      const wider = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      assert.equal(wider, false, "the page scrolls sideways");
      assert.deepEqual(await new AxeBuilder(page).violations(), []);
      assert.deepEqual(errors, []);
    });
  }
}
