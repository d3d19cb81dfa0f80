//! Server-sent events.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::Client;

/// An open stream of events.
#[derive(Debug)]
pub struct Events {
    lines: BufReader<TcpStream>,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its `event:` field.
    pub name: String,
    /// Its `data:` lines.
    pub data: String,
    /// Its `id:` field.
    pub id: Option<String>,
}

impl Events {
    /// Opens a stream, and returns once its head has come with status 200.
    ///
    /// # Panics
    /// When the answer is another.
    #[track_caller]
    pub fn open(client: &Client, path: &str) -> Self {
        let mut stream = TcpStream::connect(client.address()).expect("connect");
        // Version 1.0 has no chunks: what follows the head is the events and nothing else.
        let mut head = format!(
            "GET {path} HTTP/1.0\r\nhost: {}\r\naccept: text/event-stream\r\n",
            client.address()
        );
        for (name, value) in client.headers_for(false) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).expect("send the request");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("timeout");
        let mut lines = BufReader::new(stream);
        let mut status = String::new();
        lines.read_line(&mut status).expect("a status line");
        assert!(status.contains(" 200 "), "GET {path} answered {status}");
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).expect("a header");
            if line.trim().is_empty() {
                return Self { lines };
            }
        }
    }

    /// The next event that `wanted` accepts.
    ///
    /// # Panics
    /// When none comes in time, or the stream ends.
    #[track_caller]
    pub fn next(&mut self, limit: Duration, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        let end = Instant::now() + limit;
        let mut event = Event::default();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no such event within {limit:?}");
            self.lines
                .get_ref()
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))
                .expect("timeout");
            let mut line = String::new();
            let read = self
                .lines
                .read_line(&mut line)
                .unwrap_or_else(|error| panic!("no such event within {limit:?}: {error}"));
            assert!(read > 0, "the stream of events ended");
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                if wanted(&event) {
                    return event;
                }
                event = Event::default();
                continue;
            }
            let Some((field, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                "data" => {
                    event.data.push('\n');
                    event.data.push_str(value);
                }
                "id" => event.id = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    /// Whether the server ends the stream within this time.
    pub fn ends_within(mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut bytes = [0; 4096];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.lines.get_ref().set_read_timeout(Some(left)).is_err() {
                return false;
            }
            match self.lines.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }
}
