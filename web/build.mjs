// Builds what the browser gets into dist/, or the tests into node_modules/.porthole-tests/.
//
// Two scripts, so that a page without a terminal does not load one: app.js for every page (htmx
// and our own small scripts), terminal.js with terminal.css for the pages that have a terminal.

import { readdir, rm } from "node:fs/promises";
import { build } from "esbuild";

const browser = { bundle: true, minify: true, sourcemap: false, target: "es2022", legalComments: "eof", logLevel: "info" };

if (process.argv.includes("--tests")) {
  const names = (await readdir("test")).filter((name) => name.endsWith(".test.ts"));
  await rm("node_modules/.porthole-tests", { recursive: true, force: true });
  await build({
    bundle: true,
    platform: "node",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    entryPoints: names.map((name) => `test/${name}`),
    outdir: "node_modules/.porthole-tests",
    sourcemap: "inline",
    logLevel: "warning",
  });
} else {
  await rm("dist", { recursive: true, force: true });
  await build({
    ...browser,
    format: "iife",
    entryPoints: { app: "src/app.ts", terminal: "src/terminal-page.ts" },
    outdir: "dist",
    loader: { ".woff2": "file" },
  });
}
