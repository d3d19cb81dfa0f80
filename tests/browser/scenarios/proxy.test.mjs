// Porthole below a path of a proxy that speaks TLS: pages, assets, events and terminals.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { request } from "node:http";
import { request as secure } from "node:https";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import { Nginx } from "../harness/nginx.mjs";
import { Terminal, createContainer, signIn } from "../harness/person.mjs";
import { Porthole } from "../harness/porthole.mjs";

let nginx, porthole, browser;

before(async () => {
  nginx = await Nginx.place("/porthole");
  if (nginx === null) return;
  porthole = await Porthole.start({ env: { PORTHOLE_PUBLIC_URL: `${nginx.url}/` } });
  browser = await openBrowser();
});

after(async () => {
  await browser?.close();
  await nginx?.stop();
  await porthole?.stop();
});

const upstream = () => porthole.url.slice("http://".length);

for (const takesOff of [false, true]) {
  test(`a page and a terminal work below the path, which the proxy ${takesOff ? "takes off" : "leaves in"}`, async (t) => {
    if (nginx === null) return t.skip("no nginx");
    await nginx.start(upstream(), { takesOff });
    t.after(() => nginx.end());
    const window = await openWindow(browser, { ignoreHTTPSErrors: true });
    const outside = [];
    window.on("request", (asked) => {
      const { protocol, host, pathname } = new URL(asked.url());
      if (protocol !== "data:" && (host !== `localhost:${nginx.port}` || !pathname.startsWith("/porthole/"))) outside.push(asked.url());
    });
    const page = await signIn(window, nginx);
    const sockets = [];
    page.on("websocket", (socket) => sockets.push(socket.url()));
    const [cookie] = await window.cookies();
    assert.equal(cookie.name, "__Host-porthole");
    assert.deepEqual([cookie.secure, cookie.httpOnly, cookie.path], [true, true, "/"]);

    const name = takesOff ? "second" : "first";
    await createContainer(page, nginx, { name, image: "busybox" });
    const terminal = await Terminal.open(page, nginx, name);
    await page.keyboard.type("echo $((6*7))-is-it\n");
    await until("the answer", () => terminal.recorder.text.includes("42-is-it"));
    assert.ok(sockets.length > 0 && sockets.every((url) => url.startsWith(`wss://localhost:${nginx.port}/porthole/api/`)), sockets.join(" "));

    // A list that is open is sent what changes, through the proxy too.
    const list = await window.newPage();
    await list.goto(`${nginx.url}/containers`);
    const row = list.locator("tr", { hasText: name });
    await row.locator(".state.running").waitFor();
    await porthole.api("POST", `/containers/${name}/stop`, { timeout: 0 });
    await row.locator(".state.exited").waitFor();

    await list.goto(`${nginx.url}/no-such-page`);
    await list.getByRole("link", { name: /containers/i }).first().click();
    await list.waitForURL(`${nginx.url}/containers**`);
    assert.deepEqual(outside, [], "everything that was asked for lies below the path");
    const errors = window.errors.filter((line) => !line.includes("404"));
    assert.deepEqual(errors, []);
    await window.close();
  });
}

/** The status of a request with these headers, of a change or of an upgrade. */
const status = (ask, options) =>
  new Promise((resolve, reject) => {
    const sent = ask({ rejectUnauthorized: false, ...options }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    sent.once("upgrade", (answer, socket) => {
      socket.destroy();
      resolve(answer.statusCode);
    });
    sent.once("error", reject);
    sent.end();
  });

test("names and origins that are not the proxy's or its own are refused", async (t) => {
  if (nginx === null) return t.skip("no nginx");
  await nginx.start(upstream());
  t.after(() => nginx.end());
  const through = { host: "localhost", port: nginx.port, path: "/porthole/login" };
  const direct = { host: "127.0.0.1", port: Number(upstream().split(":")[1]), path: "/login" };
  const named = (at, Host) => ({ ...at, headers: { Host } });
  assert.equal(await status(secure, through), 200);
  assert.equal(await status(secure, named(through, "evil.example")), 421);
  assert.equal(await status(request, direct), 200);
  assert.equal(await status(request, named(direct, "evil.example")), 421);

  // By cookie: the right origin is asked for the password, another one is refused before that.
  const post = (Origin) => ({ ...through, path: "/porthole/api/v1/logout", method: "POST", headers: { Origin, Cookie: "__Host-porthole=nobody" } });
  assert.equal(await status(secure, post(`https://localhost:${nginx.port}`)), 401);
  for (const origin of [`http://localhost:${nginx.port}`, "https://evil.example", `https://127.0.0.1:${nginx.port}`]) {
    assert.equal(await status(secure, post(origin)), 403, origin);
  }
});
