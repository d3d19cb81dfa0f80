// The terminal page: `/containers/{id}/terminal`.
//
// What the page's HTML holds, and nothing more:
//
//   <link rel="stylesheet" href="{base}/…/terminal.css">
//   <script src="{base}/…/terminal.js" defer></script>          (beside app.js)
//   <div id="terminal"
//        data-container="{64 hexadecimal digits, or a foreign engine's id}"
//        data-name="{the container's name}"
//        data-session="{the session of ?session=, or empty}"
//        data-base="{base path without a slash at its end, or empty}"></div>
//
// The page gives the element its place and a height (the rest of the window: it is laid out as a
// column whose terminal grows); this script fills it with tabs, terminal and status line. It reads
// the tokens of the stylesheet (--bg --panel --panel-2 --line --ink --ink-2 --ink-3 --accent
// --on-accent --ok --warn --bad --mono --s1…--s6) and follows data-theme of the root element.
//
// Needs of the page's Content-Security-Policy: `script-src 'self'`, `connect-src 'self'`, and, as
// xterm.js writes style elements, `style-src-elem 'self' 'unsafe-inline'; style-src-attr 'none'`.

export {};
