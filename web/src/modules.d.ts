// Modules that have no declarations of their own.

declare module "*.css";

// htmx's build as an ES module; what the scripts use of it is global.
declare module "htmx.org/dist/htmx.esm.js";
declare module "htmx.org/dist/ext/hx-sse.js";
