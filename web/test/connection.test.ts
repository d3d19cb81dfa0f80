import assert from "node:assert/strict";
import test from "node:test";

import {
  type Clock,
  Connection,
  CONNECT_DEADLINE,
  DOUBT_DEADLINE,
  HEARTBEAT_DEADLINE,
  HEARTBEAT_EVERY,
  type Listener,
  type Socket,
  type State,
} from "../src/connection.ts";
import { type ClientFrame, type Flags, INPUT_WINDOW, type ServerFrame } from "../src/protocol.ts";
import { decodeClientFrame, encodeServerFrame } from "./server-side.ts";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const words = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** A clock that stands until a test moves it. */
class TestClock implements Clock {
  #now = 1_000_000;
  #due: { at: number; run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, run: () => void): () => void {
    const entry = { at: this.#now + milliseconds, run };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((other) => other !== entry);
    };
  }

  pass(milliseconds: number): void {
    const until = this.#now + milliseconds;
    for (;;) {
      const next = this.#due.filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#due = this.#due.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.run();
    }
    this.#now = until;
  }
}

/** The server's end of one socket. */
class TestSocket implements Socket {
  binaryType = "";
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  closed = false;
  readonly frames: ClientFrame[] = [];

  constructor(readonly address: URL) {}

  send(bytes: Uint8Array<ArrayBuffer>): void {
    assert.equal(this.closed, false, "something was sent after the socket was let go");
    this.frames.push(decodeClientFrame(bytes));
  }

  close(): void {
    this.closed = true;
  }

  serve(frame: ServerFrame): void {
    this.onmessage?.({ data: encodeServerFrame(frame).buffer });
  }

  end(code: number, reason = ""): void {
    this.onclose?.({ code, reason });
  }

  of<T extends ClientFrame["type"]>(type: T): (ClientFrame & { type: T })[] {
    return this.frames.filter((frame): frame is ClientFrame & { type: T } => frame.type === type);
  }
}

const WRITER: Flags = { write: true, drives: true, recorded: false, tty: true };

class Scene {
  readonly clock = new TestClock();
  readonly sockets: TestSocket[] = [];
  readonly states: State[] = [];
  readonly notices: string[] = [];
  readonly seen: string[] = [];
  status: number | null = null;
  /** Acknowledge at once what was written, as a terminal that keeps up does. */
  keepsUp = true;
  readonly connection: Connection;

  constructor(mode: "write" | "watch" = "write", public stored: string | null = null) {
    const listener: Listener = {
      state: (state) => this.states.push(state),
      hello: () => undefined,
      output: (bytes, stream, end) => {
        this.seen.push(stream === "tty" ? words(bytes) : `${stream}:${words(bytes)}`);
        if (this.keepsUp) this.connection.parsed(end);
      },
      snapshot: (bytes, cols, rows, end) => {
        this.seen.push(`[${cols}x${rows} ${words(bytes)}]`);
        if (this.keepsUp) this.connection.parsed(end);
      },
      size: (cols, rows) => this.seen.push(`<${cols}x${rows}>`),
      viewers: (viewers) => this.seen.push(viewers.map(({ user }) => user).join("+")),
      notice: (notice) => this.notices.push(notice),
    };
    this.connection = new Connection("ws://127.0.0.1:7678/api/v1/sessions/s/attach", mode, listener, {
      clock: this.clock,
      random: () => 1,
      open: (address, subprotocol) => {
        assert.equal(subprotocol, "porthole.v1");
        const socket = new TestSocket(new URL(address));
        this.sockets.push(socket);
        return socket;
      },
      probe: async () => this.status,
      viewer: {
        get: () => this.stored,
        set: (id) => {
          this.stored = id;
        },
      },
    });
    this.connection.start();
  }

  get socket(): TestSocket {
    return this.sockets.at(-1)!;
  }

  get state(): State {
    return this.states.at(-1)!;
  }

  hello(fields: Partial<ServerFrame & { type: "hello" }> = {}): void {
    this.socket.onopen?.();
    this.socket.serve({ type: "hello", seq: 0, cols: 80, rows: 24, flags: WRITER, accepted: 0, viewer: "v1", ...fields });
  }

  output(seq: number, what: string): void {
    this.socket.serve({ type: "output", seq, stream: "tty", bytes: text(what) });
  }

  typed(socket = this.socket): string {
    return socket.of("input").map(({ bytes }) => words(bytes)).join("");
  }

  query(name: string): string | null {
    return this.socket.address.searchParams.get(name);
  }
}

test("a first connection asks for no place and no viewer, and is live with the hello", () => {
  const scene = new Scene();
  assert.deepEqual(scene.states, [{ kind: "connecting" }]);
  assert.equal(scene.socket.binaryType, "arraybuffer");
  assert.deepEqual([scene.query("mode"), scene.query("resume"), scene.query("viewer")], ["write", null, null]);
  scene.hello();
  assert.deepEqual(scene.state, { kind: "live" });
  assert.equal(scene.stored, "v1");
});

test("output comes in order, and a dropped connection asks for what is missing", () => {
  const scene = new Scene();
  scene.hello();
  scene.output(0, "one ");
  scene.output(4, "two ");
  scene.socket.end(1006);
  assert.deepEqual(scene.state, { kind: "reconnecting", seconds: 1 });
  scene.clock.pass(200);
  assert.equal(scene.sockets.length, 2);
  assert.equal(scene.query("resume"), "8");
  assert.equal(scene.query("viewer"), "v1");
  scene.hello({ seq: 8 });
  // A server may send what is known already; it is not written twice.
  scene.output(4, "two three ");
  scene.output(0, "one ");
  assert.equal(scene.seen.join(""), "one two three ");
});

test("a gap in the output is told, and the screen is asked for anew", () => {
  const scene = new Scene();
  scene.hello();
  scene.output(0, "abc");
  scene.output(5, "xyz");
  assert.equal(scene.seen.join(""), "abc");
  assert.equal(scene.notices.length, 1);
  scene.clock.pass(200);
  assert.equal(scene.query("resume"), null);
  scene.hello({ seq: 8 });
  scene.socket.serve({ type: "snapshot", seq: 8, cols: 80, rows: 24, bytes: text("screen") });
  scene.output(8, "!");
  assert.deepEqual(scene.seen, ["abc", "[80x24 screen]", "!"]);
});

test("sizes and streams keep their place among the bytes", () => {
  const scene = new Scene();
  scene.hello();
  scene.output(0, "a");
  scene.socket.serve({ type: "size", cols: 100, rows: 30 });
  scene.socket.serve({ type: "output", seq: 1, stream: "stderr", bytes: text("b") });
  assert.deepEqual(scene.seen, ["a", "<100x30>", "stderr:b"]);
});

test("what was parsed is acknowledged: soon, and at once when it is much", () => {
  const scene = new Scene();
  scene.hello();
  scene.output(0, "abc");
  assert.deepEqual(scene.socket.of("acknowledge"), []);
  scene.clock.pass(50);
  assert.deepEqual(scene.socket.of("acknowledge"), [{ type: "acknowledge", seq: 3 }]);
  scene.output(3, "x".repeat(40_000));
  assert.equal(scene.socket.of("acknowledge").at(-1)?.seq, 40_003);
  scene.clock.pass(1000);
  assert.equal(scene.socket.of("acknowledge").length, 2);
});

test("received is not parsed", () => {
  const scene = new Scene();
  scene.keepsUp = false;
  scene.hello();
  scene.output(0, "x".repeat(100_000));
  scene.clock.pass(1000);
  assert.deepEqual(scene.socket.of("acknowledge"), []);
  scene.connection.parsed(100_000);
  assert.equal(scene.socket.of("acknowledge").at(-1)?.seq, 100_000);
});

test("an empty snapshot is acknowledged too", () => {
  const scene = new Scene();
  scene.hello();
  scene.socket.serve({ type: "snapshot", seq: 0, cols: 80, rows: 24, bytes: text("") });
  scene.clock.pass(50);
  assert.deepEqual(scene.socket.of("acknowledge"), [{ type: "acknowledge", seq: 0 }]);
});

test("after a reconnect nothing is acknowledged that came before it", () => {
  const scene = new Scene();
  scene.keepsUp = false;
  scene.hello();
  scene.output(0, "0123456789");
  scene.connection.parsed(4);
  scene.socket.end(1006);
  scene.clock.pass(200);
  scene.hello({ seq: 10 });
  scene.connection.parsed(8);
  scene.clock.pass(100);
  assert.deepEqual(scene.socket.of("acknowledge"), []);
  scene.output(10, "ab");
  scene.connection.parsed(12);
  scene.clock.pass(100);
  assert.deepEqual(scene.socket.of("acknowledge"), [{ type: "acknowledge", seq: 12 }]);
});

test("what is typed while the connection is away goes out when it is back, and nothing twice", () => {
  const scene = new Scene();
  scene.hello();
  scene.connection.type(text("echo "));
  scene.socket.serve({ type: "accepted", accepted: 2 });
  scene.socket.end(1006);
  scene.connection.type(text("hi\r"));
  scene.clock.pass(200);
  scene.hello({ accepted: 4 });
  assert.equal(scene.typed(), " hi\r");
  assert.equal(scene.socket.of("input")[0]?.seq, 4);
  assert.deepEqual(scene.notices, []);
});

test("a server that was started anew gets nothing twice, and what may be lost is told", () => {
  const scene = new Scene();
  scene.hello();
  scene.connection.type(text("rm x\r"));
  scene.socket.end(1006);
  scene.connection.type(text("ls\r"));
  scene.clock.pass(200);
  scene.hello({ viewer: "v2", accepted: 0 });
  assert.equal(scene.typed(), "ls\r");
  assert.equal(scene.notices.length, 1);
  assert.match(scene.notices[0]!, /5 bytes may not have arrived/);
});

test("a page that is loaded again is the same viewer and counts on", () => {
  const scene = new Scene("write", "v1");
  assert.equal(scene.query("viewer"), "v1");
  scene.hello({ accepted: 12 });
  scene.connection.type(text("x"));
  assert.equal(scene.socket.of("input")[0]?.seq, 12);
});

test("a large paste keeps to the window and arrives whole", () => {
  const scene = new Scene();
  scene.hello();
  const paste = new Uint8Array(1_000_000).map((_, at) => 97 + (at % 26));
  assert.ok(scene.connection.type(paste));
  let arrived = 0;
  let read = 0;
  while (arrived < paste.length) {
    const pieces = scene.socket.of("input");
    for (; read < pieces.length; read += 1) {
      assert.equal(pieces[read]!.seq, arrived);
      arrived += pieces[read]!.bytes.length;
    }
    assert.ok(scene.connection.waiting <= paste.length);
    scene.socket.serve({ type: "accepted", accepted: arrived });
  }
  assert.equal(scene.typed(), words(paste));
  assert.equal(scene.connection.waiting, 0);
});

test("no more than the window is on its way while the program does not read", () => {
  const scene = new Scene();
  scene.hello();
  scene.connection.type(new Uint8Array(INPUT_WINDOW * 3));
  const sent = scene.socket.of("input").reduce((sum, { bytes }) => sum + bytes.length, 0);
  assert.equal(sent, INPUT_WINDOW);
  // Output and sizes go on meanwhile.
  scene.output(0, "x");
  scene.connection.resize(90, 20);
  assert.equal(scene.socket.of("resize").length, 1);
});

test("who only watches types nothing", () => {
  const scene = new Scene("watch");
  assert.equal(scene.query("mode"), "watch");
  scene.hello({ flags: { ...WRITER, write: false, drives: false } });
  assert.equal(scene.connection.type(text("x")), false);
  assert.deepEqual(scene.socket.of("input"), []);
});

test("the driver's size goes out with the hello, and not more often than the server takes it", () => {
  const scene = new Scene();
  scene.connection.resize(100, 40);
  scene.hello();
  assert.deepEqual(scene.socket.of("resize"), [{ type: "resize", cols: 100, rows: 40 }]);
  for (let cols = 101; cols <= 150; cols += 1) {
    scene.connection.resize(cols, 40);
    scene.clock.pass(10);
  }
  scene.clock.pass(100);
  const sizes = scene.socket.of("resize");
  assert.ok(sizes.length <= 1 + 600 / 60 + 1, `${sizes.length} resizes`);
  assert.equal(sizes.at(-1)?.cols, 150);
});

test("a size that cannot be is brought within bounds", () => {
  const scene = new Scene();
  scene.hello();
  scene.connection.resize(0, 70_000);
  assert.deepEqual(scene.socket.of("resize").at(-1), { type: "resize", cols: 1, rows: 1000 });
});

test("who does not drive sends no size until it does", () => {
  const scene = new Scene();
  scene.hello({ flags: { ...WRITER, drives: false } });
  scene.connection.resize(100, 40);
  assert.deepEqual(scene.socket.of("resize"), []);
  scene.connection.drive(true);
  assert.deepEqual(scene.socket.of("drive"), [{ type: "drive", take: true }]);
  scene.hello();
  assert.deepEqual(scene.socket.of("resize"), [{ type: "resize", cols: 100, rows: 40 }]);
});

test("a second hello changes the flags and nothing else", () => {
  const scene = new Scene();
  scene.hello();
  scene.connection.type(text("abc"));
  scene.output(0, "abc");
  scene.hello({ seq: 3, accepted: 0, flags: { ...WRITER, recorded: true } });
  assert.equal(scene.typed(), "abc");
  assert.deepEqual(scene.notices, []);
});

test("a silent connection is found dead by the heartbeat", () => {
  const scene = new Scene();
  scene.hello();
  scene.clock.pass(HEARTBEAT_EVERY);
  assert.equal(scene.socket.of("heartbeat").length, 1);
  scene.socket.serve({ type: "heartbeat", value: 1 });
  scene.clock.pass(HEARTBEAT_EVERY);
  assert.equal(scene.state.kind, "live");
  const silent = scene.socket;
  scene.clock.pass(HEARTBEAT_DEADLINE);
  assert.equal(scene.state.kind, "reconnecting");
  assert.equal(silent.closed, true);
});

test("a returning network doubts a connection that looks live", () => {
  const scene = new Scene();
  scene.hello();
  scene.clock.pass(500);
  scene.connection.wake();
  scene.clock.pass(DOUBT_DEADLINE - 1);
  assert.equal(scene.state.kind, "live");
  scene.clock.pass(1);
  assert.equal(scene.state.kind, "reconnecting");
});

test("a returning network does not wait for the next attempt", () => {
  const scene = new Scene();
  scene.hello();
  scene.socket.end(1006);
  for (let attempt = 0; attempt < 8; attempt += 1) {
    scene.clock.pass(20_000);
    scene.socket.end(1006);
  }
  const before = scene.sockets.length;
  scene.connection.wake();
  assert.equal(scene.sockets.length, before + 1);
});

test("waits between attempts grow to their bound and are counted down", () => {
  const scene = new Scene();
  scene.hello();
  const waits: number[] = [];
  for (let attempt = 0; attempt < 10; attempt += 1) {
    scene.socket.end(1006);
    const start = scene.clock.now();
    const before = scene.sockets.length;
    while (scene.sockets.length === before) scene.clock.pass(10);
    waits.push(scene.clock.now() - start);
  }
  assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000]);
  const counted = scene.states.filter((state) => state.kind === "reconnecting").map(({ seconds }) => seconds);
  assert.deepEqual(counted.slice(-11), [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
});

test("a connection that stood for a while begins its waits anew", () => {
  const scene = new Scene();
  scene.hello();
  scene.socket.end(1006);
  scene.clock.pass(200);
  scene.hello();
  scene.clock.pass(6000);
  scene.socket.end(1006);
  scene.clock.pass(200);
  assert.equal(scene.sockets.length, 3);
});

test("a server that takes the socket and says nothing is left", () => {
  const scene = new Scene();
  scene.socket.onopen?.();
  scene.clock.pass(CONNECT_DEADLINE);
  assert.equal(scene.state.kind, "reconnecting");
});

test("a refusal is told in the server's words and nothing is tried again", () => {
  const scene = new Scene();
  scene.socket.onopen?.();
  scene.socket.serve({ type: "notice", code: 403, text: "only alice may" });
  scene.socket.end(4403);
  assert.deepEqual(scene.state, { kind: "refused", code: 4403, text: "only alice may" });
  scene.clock.pass(100_000);
  scene.connection.wake();
  assert.equal(scene.sockets.length, 1);
});

test("every refusal has words of its own where the server gives none", () => {
  const told = [4401, 4403, 4404, 4409, 4400].map((code) => {
    const scene = new Scene();
    scene.hello();
    scene.socket.end(code);
    assert.equal(scene.state.kind, "refused");
    return scene.state.kind === "refused" ? scene.state.text : "";
  });
  assert.equal(new Set(told).size, 5);
});

test("too many requests, a restart and an absent keeper are no refusals", () => {
  for (const code of [1001, 1006, 1011, 1012, 4408, 4429, 4503]) {
    const scene = new Scene();
    scene.hello();
    scene.socket.end(code);
    assert.equal(scene.state.kind, "reconnecting", String(code));
  }
});

test("a socket that never opened asks why, and a sign-out ends the attempts", async () => {
  const scene = new Scene();
  scene.status = 401;
  scene.socket.end(1006);
  assert.equal(scene.state.kind, "reconnecting");
  await Promise.resolve();
  await Promise.resolve();
  assert.equal((scene.states.at(-1) as State & { code?: number }).code, 4401);
  scene.clock.pass(100_000);
  assert.equal(scene.sockets.length, 1);
});

test("the end of the session is final, after its last output", () => {
  const scene = new Scene();
  scene.hello();
  scene.output(0, "bye");
  scene.socket.serve({ type: "exit", code: 130, kind: "signal", reason: "ended by SIGINT" });
  assert.deepEqual(scene.state, { kind: "ended", code: 130, how: "signal", reason: "ended by SIGINT" });
  assert.equal(scene.connection.type(text("x")), false);
  scene.clock.pass(100_000);
  scene.connection.wake();
  assert.equal(scene.sockets.length, 1);
  assert.equal(scene.socket.closed, true);
});

test("a hidden tab that falls behind lets go, and is whole again when it is seen", () => {
  const scene = new Scene();
  scene.keepsUp = false;
  scene.hello();
  scene.connection.visible(false);
  scene.output(0, "x".repeat(100_000));
  assert.equal(scene.state.kind, "live");
  scene.output(100_000, "x".repeat(100_000));
  assert.equal(scene.socket.closed, true);
  scene.clock.pass(100_000);
  assert.equal(scene.sockets.length, 1);
  scene.connection.visible(true);
  assert.equal(scene.query("resume"), "200000");
});

test("a message that is no frame ends the connection, not the page", () => {
  const scene = new Scene();
  scene.hello();
  scene.socket.onmessage?.({ data: Uint8Array.of(0x86, 1).buffer });
  assert.equal(scene.state.kind, "reconnecting");
  assert.equal(scene.notices.length, 1);
});

test("a frame of a later server is ignored", () => {
  const scene = new Scene();
  scene.hello();
  scene.socket.onmessage?.({ data: Uint8Array.of(0x9f, 1).buffer });
  assert.equal(scene.state.kind, "live");
});

test("who is here is told, and a broken list is nobody", () => {
  const scene = new Scene();
  scene.hello();
  scene.socket.serve({ type: "viewers", json: '[{"user":"ann","mode":"write"},{"user":"bob","mode":"watch"}]' });
  scene.socket.serve({ type: "viewers", json: "{" });
  assert.deepEqual(scene.seen, ["ann+bob", ""]);
});

test("nothing happens after the page has let go", () => {
  const scene = new Scene();
  scene.hello();
  scene.connection.dispose();
  const states = scene.states.length;
  scene.connection.wake();
  scene.clock.pass(100_000);
  assert.equal(scene.sockets.length, 1);
  assert.equal(scene.states.length, states);
  assert.equal(scene.socket.closed, true);
});
