// htmx's build as an ES module has no declarations beside it; what the scripts use of it is global.
declare module "htmx.org/dist/htmx.esm.js";
declare module "htmx.org/dist/ext/hx-sse.js";
