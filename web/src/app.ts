// Every page's script: htmx with its server-sent events, and the pages' own small scripts.
//
// The pages' rule `script-src 'self'` forbids evaluating text, so nothing here uses what of htmx
// needs it (hx-on, js: values, filters of hx-trigger).

import "htmx.org/dist/htmx.esm.js";
import "htmx.org/dist/ext/hx-sse.js";
import "./pages.ts";
