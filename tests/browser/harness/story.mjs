// Scenarios that build on one another: when one fails, those after it would only fail with it, so
// they are skipped and say so.

import test from "node:test";

export function story() {
  let failed = null;
  return (name, options, scenario = options) => {
    const settings = typeof options === "function" ? {} : options;
    test(name, settings, async (t) => {
      if (failed !== null) return t.skip(`an earlier step failed: ${failed}`);
      try {
        await scenario(t);
      } catch (error) {
        failed = name;
        throw error;
      }
    });
  };
}
