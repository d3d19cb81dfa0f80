// The whole path, as a new person goes it: first start, an account, a container, its page, a
// terminal in it; and what the pages and the shell say is what the host's kernel says.

import assert from "node:assert/strict";
import { openWindow, terminalText, until } from "../harness/browser.mjs";
import * as host from "../harness/host.mjs";
import { createContainer, Terminal } from "../harness/person.mjs";
import { ADMIN, PASSWORD } from "../harness/porthole.mjs";
import { browser, porthole, stage } from "../harness/stage.mjs";
import { story } from "../harness/story.mjs";

const step = story();

let window;
let page;

// The plain renderer's text can be read from the page.
stage({ webgl: false, account: false }, async () => {
  window = await openWindow(browser);
  page = await window.newPage();
});

step("the first start makes the administrator by the code that root finds", async () => {
  await page.goto(porthole.url);
  await page.waitForURL(`${porthole.url}/setup`);
  await page.getByLabel("One-time code").fill("wrong");
  await page.getByLabel("Account name").fill(ADMIN);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Make the account" }).click();
  await page.getByRole("alert").filter({ hasText: /code/i }).first().waitFor();
  await page.goto(`${porthole.url}/setup#${await porthole.setupCode()}`);
  await until("the code is taken out of the address", () => new URL(page.url()).hash === "");
  await page.getByLabel("Account name").fill(ADMIN);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Make the account" }).click();
  await page.waitForURL(`${porthole.url}/containers**`);
  await porthole.signIn(PASSWORD);
  await page.getByRole("link", { name: "New container" }).first().waitFor();
});

/** The host PIDs and the container PIDs that the page's map shows. */
const mapped = (side) =>
  page.locator(`.map .side${side} li[data-pair] .p`).allTextContents().then((texts) => texts.map(Number).sort((a, b) => a - b));

for (const image of ["busybox", "host"]) {
  const name = `path-${image}`;
  let container;
  let terminal;

  step(`${image}: created by the form, its page shows what the host's /proc says`, async () => {
    await createContainer(page, porthole, { name, image, command: "sleep 1000000" });
    container = await porthole.api("GET", `/containers/${name}`);
    const init = container.pid;
    const namespaces = host.namespaces(init);
    const own = host.namespaces(process.pid);
    assert.equal(host.pids(init).at(-1), 1);

    // Its init starts the command in a moment: what is there is asked as often as what is shown.
    let members;
    await until("the map shows the host's PIDs", async () => {
      members = host.membersOf(namespaces.pid).sort((a, b) => a - b);
      return members.length > 1 && JSON.stringify(await mapped(":not(.inside)")) === JSON.stringify(members);
    });
    assert.ok(members.includes(init));
    const inside = members.map((pid) => host.pids(pid).at(-1)).sort((a, b) => a - b);
    assert.deepEqual(await mapped(".inside"), inside);

    const cells = await page.locator("#head .fp i").evaluateAll((all) => all.map((cell) => cell.className.split(" ")));
    assert.deepEqual(cells.map(([type]) => type), host.NAMESPACES);
    for (const [type, isolation] of cells) {
      assert.equal(isolation, namespaces[type] === own[type] ? "host" : "own", type);
    }

    await page.goto(`${porthole.url}/containers/${name}/namespaces`);
    for (const type of host.NAMESPACES) {
      const row = page.locator(`#n-${type}`);
      await row.getByText(namespaces[type]).waitFor();
      const path = (await row.locator('[data-label="Its file"]').textContent()).trim();
      assert.match(path, new RegExp(`^/proc/\\d+/ns/${type}$`));
      assert.equal(host.namespaces(Number(path.split("/")[2]))[type], namespaces[type]);
    }

    await page.goto(`${porthole.url}/containers/${name}/processes`);
    for (const pid of members) {
      const row = page.locator(`#rows [id^="p-${pid}-"]`);
      assert.deepEqual((await row.locator(".lvl").allTextContents()).map(Number), host.pids(pid));
    }
  });

  step(`${image}: a shell says of itself what page and host say of it`, async () => {
    terminal = await Terminal.open(page, porthole, name);
    const session = await porthole.api("GET", `/sessions/${terminal.session}`);
    const [shell, hostname, id, tty, ...processes] = await terminal.run("echo $$; hostname; id; tty; ps");
    assert.equal(Number(shell), session.container_pid);
    assert.equal(host.pids(session.host_pid).at(-1), Number(shell));
    assert.deepEqual(host.namespaces(session.host_pid), host.namespaces(container.pid));
    assert.equal(hostname, container.hostname ?? name);
    assert.match(id, /^uid=0\(root\) gid=0\(root\)/);
    assert.equal(tty, "/dev/pts/0");
    assert.equal(session.tty_name, tty);
    const line = await page.locator(".t-status").textContent();
    assert.ok(line.includes(`host ${session.host_pid} · inside ${shell} · pts/0`), line);

    const listed = processes.map((row) => Number(row.trim().split(/\s+/)[0])).filter((pid) => pid > 0);
    assert.ok(listed.includes(Number(shell)));
    const members = host.membersOf(host.namespaces(container.pid).pid).map((pid) => host.pids(pid).at(-1));
    // `ps` itself has gone; what else it saw is what the host has in that namespace.
    const gone = listed.filter((pid) => !members.includes(pid));
    assert.ok(gone.length <= 1, `${listed} against ${members}`);
    assert.ok(image === "host" || members.every((pid) => listed.includes(pid)), `${listed} against ${members}`);

    // What its page says of it, from both sides.
    const overview = await window.newPage();
    await overview.goto(`${porthole.url}/containers/${name}/processes`);
    const row = overview.locator(`#rows [id^="p-${session.host_pid}-"]`);
    await row.waitFor();
    assert.deepEqual((await row.locator(".lvl").allTextContents()).map(Number), host.pids(session.host_pid));
    assert.match(await row.textContent(), /pts\/0/);
    await overview.close();
  });

  step(`${image}: the shell's size is the window's, also after it changes`, async () => {
    const before = (await terminal.run("stty size"))[0];
    assert.match(await page.locator(".t-status").textContent(), new RegExp(before.split(" ").reverse().join("×")));
    await page.setViewportSize({ width: 900, height: 600 });
    await until("the size is another", async () => !(await page.locator(".t-status").textContent()).includes(before.split(" ").reverse().join("×")));
    const [rows, cols] = (await terminal.run("stty size"))[0].split(" ");
    assert.ok((await page.locator(".t-status").textContent()).includes(`${cols}×${rows}`));
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  step(`${image}: text of all kinds arrives as it was written`, async () => {
    const text = "grüße λ 日本語 👩‍👩‍👧 é";
    const [line] = await terminal.run(`printf '%s\\n' '${text}'`);
    assert.equal(line, text);
    const [colour] = await terminal.run("printf '\\033[31mred\\033[0m\\n'");
    assert.equal(colour, "\x1b[31mred\x1b[0m");
  });

  step(`${image}: a reload comes back to the same session and its screen`, async () => {
    const session = terminal.session;
    await terminal.run("marker=kept-in-this-shell");
    await terminal.run("clear; printf 'first\\nsecond\\nthird\\n'");
    const shown = async () => (await terminalText(page)).trimEnd();
    // With the prompt behind it: one that comes only after the reload would be a line more.
    await until("the screen", async () => /first\nsecond\nthird\n\d+end\n.*[#$]$/.test(await shown()));
    const screen = await shown();
    await page.reload();
    await terminal.live();
    assert.equal(terminal.session, session);
    await until("the same screen", async () => (await shown()) === screen).catch(async () => assert.equal(await shown(), screen));
    // Blanks that were never written must not wrap into empty lines.
    await page.setViewportSize({ width: 700, height: 800 });
    await until("a narrower screen", async () => (await page.locator(".t-pane .xterm-screen").boundingBox()).width < 650);
    assert.match(await shown(), /first\nsecond\nthird/);
    await page.setViewportSize({ width: 1280, height: 800 });
    terminal.recorder.forget();
    assert.deepEqual(await terminal.run("echo $marker"), ["kept-in-this-shell"]);
  });

  step(`${image}: with the network away it waits, and is live at once when it is back`, async () => {
    const sockets = terminal.recorder.sockets;
    await window.setOffline(true);
    // Chromium leaves a socket that stands alone; the server's end of it is cut as a network would.
    await porthole.kill("server");
    await until("it says so", async () => (await terminal.state()).startsWith("reconnecting"));
    await porthole.ready();
    await page.keyboard.type("echo typed-while-");
    await window.setOffline(false);
    await terminal.live();
    assert.ok(terminal.recorder.sockets > sockets);
    await page.keyboard.type("away");
    await page.keyboard.press("Enter");
    await until("what was typed ran", () => /[\r\n]typed-while-away\r*\n/.test(terminal.recorder.text));
  });

  step(`${image}: a command that ends leaves its code, and Enter begins anew`, async () => {
    const session = terminal.session;
    await terminal.type("exit 3");
    await until("the end is told", async () => (await terminal.state()) === "ended (exit code 3)");
    assert.equal((await porthole.api("GET", `/sessions/${session}`)).exit_code, 3);
    await page.keyboard.press("Enter");
    await until("another session", () => terminal.session !== session);
    await terminal.live();
    assert.match((await terminal.run("tty"))[0], /^\/dev\/pts\/\d$/);
  });
}

step("vim draws, takes keys, fills the window and gives the screen back", async () => {
  const terminal = new Terminal(page);
  await page.goto(`${porthole.url}/containers/path-host/terminal`);
  await terminal.live();
  await terminal.run("true");
  const vim = (await terminal.run("command -v vim.tiny vim vi | head -1"))[0];
  assert.ok(vim, "there is no vim in the image host: install vim-tiny");
  terminal.recorder.forget();
  await terminal.type(`${vim} -u NONE /tmp/note`);
  await until("vim has the screen", () => terminal.recorder.text.includes("\x1b[?1049h"));
  await page.keyboard.type("ihello from vim");
  await until("vim shows it", async () => (await terminalText(page)).includes("hello from vim"));
  const before = terminal.recorder.end;
  await page.keyboard.press("Escape");
  // Keys right behind it would make it an Alt: a person is slower.
  await until("vim has taken Escape", () => terminal.recorder.end > before);
  await page.keyboard.type(":wq");
  await page.keyboard.press("Enter");
  assert.deepEqual(await terminal.run("cat /tmp/note"), ["hello from vim"]);
});

step("signing out in one tab closes the terminal in another within a second", async () => {
  const terminal = new Terminal(page);
  await page.goto(`${porthole.url}/containers/path-busybox/terminal`);
  await terminal.live();
  const other = await window.newPage();
  await other.goto(`${porthole.url}/containers`);
  await other.locator("details.menu > summary").click();
  const begun = Date.now();
  await other.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("link", { name: "Sign in" }).waitFor({ timeout: 5000 });
  const took = Date.now() - begun;
  assert.ok(took < 1500, `it took ${took} ms`);
});

step("nothing went wrong in the console meanwhile", () => {
  // What the tests did on purpose: a wrong code, a killed server, a sign-out.
  const expected = /setup|sse:error|ERR_CONNECTION_REFUSED|ERR_INTERNET_DISCONNECTED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED|ERR_NETWORK_CHANGED|WebSocket|40[13]|503/;
  assert.deepEqual(window.errors.filter((text) => !expected.test(text)), []);
});
