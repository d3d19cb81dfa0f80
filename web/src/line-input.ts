// Typing into a session without a terminal.
//
// Where no terminal stands between, nobody echoes, edits a line or turns Ctrl+D into the end of
// input; so it is done here, as a terminal's own line editing does.

const END_OF_INPUT = "\x04";
const ERASE = /^[\x08\x7f]$/;

export interface Typed {
  /** What to show. */
  readonly echo: string;
  /** What to send. */
  readonly send: string;
  /** Whether the end of input was asked for. */
  readonly end: boolean;
}

export class LineInput {
  #line = "";

  /** Takes what the keyboard or the clipboard gave. */
  take(data: string): Typed {
    let echo = "";
    let send = "";
    for (const character of data.replaceAll("\r\n", "\r")) {
      if (character === "\r" || character === "\n") {
        send += `${this.#line}\n`;
        echo += "\r\n";
        this.#line = "";
      } else if (character === END_OF_INPUT) {
        // In the middle of a line it sends what stands there, at its beginning it ends the input.
        if (this.#line === "") return { echo, send, end: true };
        send += this.#line;
        this.#line = "";
      } else if (ERASE.test(character)) {
        if (this.#line !== "") echo += "\b \b";
        this.#line = [...this.#line].slice(0, -1).join("");
      } else if (character === "\x1b") {
        // Keys without a character of their own, such as arrows, mean nothing to a pipe.
        break;
      } else if (character >= " " || character === "\t") {
        this.#line += character;
        echo += character;
      }
    }
    return { echo, send, end: false };
  }
}
