//! The golden frames of `tests/vectors/frames.json`, which the browser's codec reads too.

use porthole_protocol::frame::{ClientFrame, Flags, ServerFrame};
use porthole_protocol::id::Seq;
use porthole_protocol::journal::Stream;
use porthole_protocol::session::{ExitKind, Size};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    client: Vec<Vector<Client>>,
    server: Vec<Vector<Server>>,
    refused: Refused,
}

#[derive(Deserialize)]
struct Vector<F> {
    name: String,
    hex: String,
    frame: F,
}

#[derive(Deserialize)]
struct Refused {
    client: Vec<NoFrame>,
    server: Vec<NoFrame>,
}

#[derive(Deserialize)]
struct NoFrame {
    name: String,
    hex: String,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Client {
    Input { seq: u64, bytes: String },
    Resize { cols: u16, rows: u16 },
    Acknowledge { seq: u64 },
    Drive { take: bool },
    EndOfInput,
    Heartbeat { value: u64 },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Server {
    Hello {
        seq: u64,
        cols: u16,
        rows: u16,
        write: bool,
        drives: bool,
        recorded: bool,
        tty: bool,
        accepted: u64,
        viewer: String,
    },
    Output {
        seq: u64,
        stream: String,
        bytes: String,
    },
    Snapshot {
        seq: u64,
        cols: u16,
        rows: u16,
        bytes: String,
    },
    Size {
        cols: u16,
        rows: u16,
    },
    Exit {
        code: i32,
        kind: ExitKind,
        reason: String,
    },
    Viewers {
        json: String,
    },
    Accepted {
        accepted: u64,
    },
    Notice {
        code: u16,
        text: String,
    },
    Heartbeat {
        value: u64,
    },
}

fn vectors() -> Vectors {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/frames.json"
    );
    let text = std::fs::read_to_string(path).expect("the golden frames are there");
    serde_json::from_str(&text).expect("the golden frames are JSON")
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| {
            c.to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
                .expect("a hexadecimal digit")
        })
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

fn stream_of(name: &str) -> Stream {
    match name {
        "tty" => Stream::Tty,
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        other => panic!("{other} is no stream"),
    }
}

#[test]
fn clients_frames_are_the_golden_ones_both_ways() {
    let vectors = vectors();
    assert!(vectors.client.len() > 8);
    for Vector { name, hex, frame } in &vectors.client {
        let payload;
        let frame = match frame {
            Client::Input { seq, bytes } => {
                payload = bytes_of(bytes);
                ClientFrame::Input {
                    seq: *seq,
                    bytes: &payload,
                }
            }
            Client::Resize { cols, rows } => ClientFrame::Resize {
                cols: *cols,
                rows: *rows,
            },
            Client::Acknowledge { seq } => ClientFrame::Acknowledge(Seq(*seq)),
            Client::Drive { take } => ClientFrame::Drive(*take),
            Client::EndOfInput => ClientFrame::EndOfInput,
            Client::Heartbeat { value } => ClientFrame::Heartbeat(*value),
        };
        assert_eq!(frame.encode(), bytes_of(hex), "{name}");
        assert_eq!(
            ClientFrame::decode(&bytes_of(hex)).as_ref(),
            Ok(&frame),
            "{name}"
        );
    }
}

#[test]
fn servers_frames_are_the_golden_ones_both_ways() {
    let vectors = vectors();
    assert!(vectors.server.len() > 12);
    for Vector { name, hex, frame } in &vectors.server {
        let payload = match frame {
            Server::Output { bytes, .. } | Server::Snapshot { bytes, .. } => bytes_of(bytes),
            _ => Vec::new(),
        };
        let frame = server_frame(frame, &payload);
        assert_eq!(frame.encode(), bytes_of(hex), "{name}");
        assert_eq!(
            ServerFrame::decode(&bytes_of(hex)).as_ref(),
            Ok(&frame),
            "{name}"
        );
    }
}

fn server_frame<'a>(frame: &'a Server, payload: &'a [u8]) -> ServerFrame<'a> {
    let size = |cols: &u16, rows: &u16| Size::new(*cols, *rows).expect("a size that can be");
    match frame {
        Server::Hello {
            seq,
            cols,
            rows,
            write,
            drives,
            recorded,
            tty,
            accepted,
            viewer,
        } => ServerFrame::Hello {
            seq: Seq(*seq),
            size: size(cols, rows),
            flags: Flags {
                write: *write,
                drives: *drives,
                recorded: *recorded,
                tty: *tty,
            },
            accepted: *accepted,
            viewer,
        },
        Server::Output { seq, stream, .. } => ServerFrame::Output {
            seq: Seq(*seq),
            stream: stream_of(stream),
            bytes: payload,
        },
        Server::Snapshot {
            seq, cols, rows, ..
        } => ServerFrame::Snapshot {
            seq: Seq(*seq),
            size: size(cols, rows),
            bytes: payload,
        },
        Server::Size { cols, rows } => ServerFrame::Size(size(cols, rows)),
        Server::Exit { code, kind, reason } => ServerFrame::Exit {
            code: *code,
            kind: *kind,
            reason,
        },
        Server::Viewers { json } => ServerFrame::Viewers(json),
        Server::Accepted { accepted } => ServerFrame::Accepted(*accepted),
        Server::Notice { code, text } => ServerFrame::Notice { code: *code, text },
        Server::Heartbeat { value } => ServerFrame::Heartbeat(*value),
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    let refused = vectors().refused;
    assert!(!refused.client.is_empty() && !refused.server.is_empty());
    for NoFrame { name, hex } in &refused.client {
        assert!(ClientFrame::decode(&bytes_of(hex)).is_err(), "{name}");
    }
    for NoFrame { name, hex } in &refused.server {
        assert!(ServerFrame::decode(&bytes_of(hex)).is_err(), "{name}");
    }
}
