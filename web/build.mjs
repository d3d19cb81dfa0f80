// Builds what the browser gets into dist/, or the tests into node_modules/.porthole-tests/.
//
// Two scripts, so that a page without a terminal does not load one: app.js for every page (htmx
// and our own small scripts), terminal.js with terminal.css for the pages that have a terminal.

import { readdir, readFile, rm } from "node:fs/promises";
import { build } from "esbuild";

/**
 * The pages' rules forbid style attributes (`style-src-attr 'none'`). xterm.js sets one on what its
 * plain renderer draws, which would lose every colour beyond the sixteen; through the object model it
 * is allowed. A version that does it in other words fails the build instead of losing colours.
 */
const xtermWithoutStyleAttributes = {
  name: "xterm without style attributes",
  setup(build) {
    build.onLoad({ filter: /@xterm\/xterm\/lib\/xterm\.mjs$/ }, async ({ path }) => {
      const text = await readFile(path, "utf8");
      const attribute = /(\w+)\.setAttribute\("style",`\$\{\1\.getAttribute\("style"\)\|\|""\}\$\{(\w+)\};`\)/g;
      const contents = text.replace(attribute, (_, element, style) => `${element}.style.cssText+=";"+${style}`);
      if (contents === text || contents.includes('setAttribute("style"')) {
        return { errors: [{ text: "xterm.js sets style attributes in a new way: see build.mjs" }] };
      }
      return { contents, loader: "js" };
    });
  },
};

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
    plugins: [xtermWithoutStyleAttributes],
  });
}
