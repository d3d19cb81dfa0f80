// Porthole with a certificate of its own, in a browser that takes this certificate and no other: pages,
// events and terminals over TLS, cookies that leave it by TLS alone, and who forgets the "s" is told.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { openBrowser, openWindow } from "../harness/browser.mjs";
import { makeCertificate, trusting } from "../harness/certificate.mjs";
import { createContainer, signIn, Terminal } from "../harness/person.mjs";
import { freePort, Porthole } from "../harness/porthole.mjs";

/** A name that is not this machine's own: for `localhost` a browser makes exceptions. */
const NAME = "porthole.test";

let directory, browser, porthole, named;

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "tls-"));
  const { cert, key } = makeCertificate(directory, ["localhost", NAME]);
  // What this file asks by itself goes to its own Porthole; whom the browser trusts is tried below.
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
  browser = await openBrowser({ flags: [trusting(cert), `--host-resolver-rules=MAP ${NAME} 127.0.0.1`] });
  const port = await freePort();
  named = { url: `https://${NAME}:${port}` };
  porthole = await Porthole.start({ port, env: { PORTHOLE_TLS_CERT: cert, PORTHOLE_TLS_KEY: key, PORTHOLE_PUBLIC_URL: named.url } });
});

after(async () => {
  await browser?.close();
  await porthole?.stop();
  rmSync(directory, { recursive: true, force: true });
});

test("pages, events and a terminal work over TLS, and nothing is asked for without", { timeout: 120_000 }, async (t) => {
  const window = await openWindow(browser);
  t.after(() => window.close());
  const { host } = new URL(porthole.url);
  const outside = [];
  window.on("request", (asked) => {
    const { protocol, host: of } = new URL(asked.url());
    if (protocol !== "data:" && (protocol !== "https:" || of !== host)) outside.push(asked.url());
  });
  const page = await signIn(window, porthole);
  assert.equal(await page.evaluate(() => isSecureContext), true);
  const sockets = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await createContainer(page, porthole, { name: "sealed", image: "busybox" });
  const terminal = await Terminal.open(page, porthole, "sealed");
  assert.deepEqual(await terminal.run("echo $((6*7))-is-it"), ["42-is-it"]);
  assert.ok(sockets.length > 0 && sockets.every((url) => url.startsWith(`wss://${host}/api/v1/sessions/`)), sockets.join(" "));

  // A list that is open is sent what changes.
  const list = await window.newPage();
  await list.goto(`${porthole.url}/containers`);
  const row = list.locator("[data-row]", { hasText: "sealed" });
  await row.locator(".state.running").waitFor();
  await porthole.api("POST", "/containers/sealed/stop", { timeout: 0 });
  await row.locator(".state.exited").waitFor({ timeout: 20_000 });
  assert.deepEqual(outside, []);
  assert.deepEqual(window.errors, []);
});

test("what signs one in leaves the browser by TLS alone", async (t) => {
  const window = await openWindow(browser);
  t.after(() => window.close());
  const page = await signIn(window, porthole);
  const cookies = await window.cookies();
  assert.deepEqual(cookies.map(({ name, secure, httpOnly, path, sameSite }) => ({ name, secure, httpOnly, path, sameSite })), [
    { name: "__Host-porthole", secure: true, httpOnly: true, path: "/", sameSite: "Lax" },
  ]);
  assert.equal(await page.evaluate(() => document.cookie), "");
  // Signed out, the one that was kept opens nothing. The control: before that it does.
  const again = await openWindow(browser);
  t.after(() => again.close());
  await again.addCookies(cookies);
  const other = await again.newPage();
  await other.goto(`${porthole.url}/settings`);
  assert.equal(new URL(other.url()).pathname, "/settings");
  await page.locator("details[data-menu] > summary").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(`${porthole.url}/login**`);
  await other.goto(`${porthole.url}/settings`);
  assert.equal(new URL(other.url()).pathname, "/login");
});

test("who asks this port without TLS is told the address, and what signs one in is not sent", async (t) => {
  const window = await openWindow(browser);
  t.after(() => window.close());
  const page = await signIn(window, named);
  const plainly = `${named.url.replace("https:", "http:")}/containers`;
  const visit = async (at, url) => {
    const sent = [];
    const note = (asked) => sent.push(asked.allHeaders());
    at.on("request", note);
    const answer = await at.goto(url);
    at.off("request", note);
    return { answer, heads: await Promise.all(sent) };
  };
  const carries = (heads) => heads.some((head) => head.cookie?.startsWith("__Host-porthole="));
  // Who has been here does not ask without TLS any more.
  const upgraded = await visit(page, plainly);
  assert.equal(page.url().split(":")[0], "https");
  assert.equal(upgraded.answer.status(), 200);
  // Who has not, as in a new profile, does.
  const fresh = await openWindow(browser);
  t.after(() => fresh.close());
  await fresh.addCookies(await window.cookies());
  const other = await fresh.newPage();
  const plain = await visit(other, plainly);
  assert.equal(plain.answer.status(), 400);
  assert.ok((await other.locator("body").textContent()).includes(`${named.url}/`));
  assert.equal(carries(plain.heads), false, "the cookie stays at home");
  assert.equal(plain.answer.headers()["set-cookie"], undefined);
  // The control: over TLS the same cookie is sent, and opens the page.
  const sealed = await visit(other, `${named.url}/containers`);
  assert.equal(sealed.answer.status(), 200);
  assert.equal(carries(sealed.heads), true);
});

test("the browser takes this certificate and no other", async (t) => {
  const stranger = await openBrowser();
  t.after(() => stranger.close());
  const window = await openWindow(stranger);
  const page = await window.newPage();
  await assert.rejects(page.goto(porthole.url), /ERR_CERT_AUTHORITY_INVALID/);
});
