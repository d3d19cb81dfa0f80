// The audit trail on its page: what was done is found, read page by page, taken away as a file, and
// followed; and whoever changes the database is found by the button.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "node:test";
import { openWindow } from "../harness/browser.mjs";
import { signIn } from "../harness/person.mjs";
import { PASSWORD } from "../harness/porthole.mjs";
import { browser, porthole, stage } from "../harness/stage.mjs";

stage({ webgl: false }, async () => {
  await porthole.api("POST", "/users", { user: "ada", password: PASSWORD, role: "user" });
  await porthole.create({ name: "web", image: "busybox", command: ["sleep", "1000000"] });
  // Two entries each: an account has so many tokens at once and no more.
  for (let number = 0; number < 55; number += 1) {
    const { id } = await porthole.api("POST", "/tokens", { name: `token-${number}` });
    await porthole.api("DELETE", `/tokens/${id}`);
  }
});

test("what was done is found by who, what and when, page by page", async (t) => {
  const window = await openWindow(browser);
  t.after(() => window.close());
  const page = await signIn(window, porthole);
  await page.goto(`${porthole.url}/settings/audit`);
  const rows = page.locator("table.audit tbody tr");
  assert.equal(await rows.count(), 100);
  assert.match(await rows.first().textContent(), /sign in/);
  await page.getByRole("link", { name: "Older" }).click();
  await page.getByRole("link", { name: "Newest" }).waitFor();
  const older = await rows.count();
  assert.ok(older > 10 && older < 100, `${older}`);
  await page.getByLabel("What", { exact: true }).selectOption("account created");
  await page.getByLabel("On what").fill("ada");
  await page.getByRole("button", { name: "Search" }).click();
  await page.waitForURL(/act=account\+created/);
  assert.equal(await rows.count(), 1);
  assert.match(await rows.first().textContent(), /admin.*account created.*ada.*done.*127\.0\.0\.1/s);
  await rows.first().locator("summary").click();
  await rows.first().getByText('"role":"user"').waitFor();
  await page.getByLabel("To", { exact: true }).fill("2020-01-01");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("heading", { name: "Nothing like that was done" }).waitFor();
  await page.getByRole("link", { name: "Show all" }).first().click();
  assert.equal(await rows.count(), 100);
  assert.deepEqual(window.errors, []);
});

/** The hash of an entry, written down a second time, as docs/API.md has it. */
function digest(entry) {
  const number = (value) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64BE(BigInt(value));
    return bytes;
  };
  const text = (value) => [number(value.length), value];
  const sorted = (value) => {
    if (Array.isArray(value)) return value.map(sorted);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
  };
  const texts = [entry.account, entry.via, entry.address, entry.act, entry.object, entry.result, JSON.stringify(sorted(entry.detail))];
  const parts = [
    ...[2, entry.number, Date.parse(entry.at), entry.of].map(number),
    ...text(Buffer.from(entry.previous, "hex")),
    ...texts.flatMap((value) => text(Buffer.from(value))),
  ];
  return createHash("sha256").update(Buffer.concat(parts)).digest("hex");
}

test("the trail is exported, checked by another program, and verified on the page", async (t) => {
  const window = await openWindow(browser);
  t.after(() => window.close());
  const page = await signIn(window, porthole);
  await page.goto(`${porthole.url}/settings/audit`);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Export as JSON lines" }).click()]);
  const lines = readFileSync(await download.path(), "utf8").trim().split("\n").map((line) => JSON.parse(line));
  let previous = "";
  for (const [at, entry] of lines.entries()) {
    assert.equal(entry.number, at + 1);
    assert.equal(entry.previous, previous, `entry ${entry.number}`);
    assert.equal(entry.hash, digest(entry), `entry ${entry.number}`);
    previous = entry.hash;
  }
  assert.equal(await page.locator("#head").textContent(), `audit:${lines.length}:${previous}`);
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByText("The trail holds.").waitFor();
  // Somebody with the server's account changes its database.
  const script = `
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.executescript("DROP TRIGGER audit_is_not_changed; UPDATE audit SET object = 'nobody' WHERE number = 7;")
`;
  execFileSync("python3", ["-c", script, `${porthole.root}/server/porthole.db`]);
  await page.getByRole("button", { name: "Verify" }).click();
  await page.getByRole("alert").filter({ hasText: "Entry 7 of the audit trail was changed." }).waitFor();
  assert.deepEqual(window.errors, []);
});
