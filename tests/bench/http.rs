//! The API over one connection that stays open: a client that costs next to nothing, so that what
//! is measured is the server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use porthole_tests::Client;
use serde_json::Value;

/// A connection that is kept.
pub(crate) struct Connection {
    place: Place,
    stream: BufReader<Box<dyn Stream>>,
    head: String,
    used: Instant,
}

/// Where it leads.
enum Place {
    Address(SocketAddr),
    Socket(PathBuf),
}

/// What bytes come and go on.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whoever was not asked for so long may have hung up.
const IDLE: Duration = Duration::from_secs(3);

impl Place {
    fn connect(&self) -> anyhow::Result<BufReader<Box<dyn Stream>>> {
        let stream: Box<dyn Stream> = match self {
            Self::Address(address) => {
                let stream = TcpStream::connect(address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        };
        Ok(BufReader::new(stream))
    }
}

impl Connection {
    /// Connects with somebody's credentials.
    pub(crate) fn open(client: &Client) -> anyhow::Result<Self> {
        let mut head = format!("host: {}\r\n", client.address());
        for (name, value) in client.headers_for(true) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Self::to(Place::Address(client.address()), head)
    }

    /// Connects to whoever listens on a socket of this machine.
    pub(crate) fn local(socket: &Path) -> anyhow::Result<Self> {
        Self::to(
            Place::Socket(socket.to_owned()),
            "host: localhost\r\n".to_owned(),
        )
    }

    fn to(place: Place, head: String) -> anyhow::Result<Self> {
        let (stream, used) = (place.connect()?, Instant::now());
        Ok(Self {
            place,
            stream,
            head,
            used,
        })
    }

    /// Connects anew, before time is taken.
    pub(crate) fn renew(&mut self) -> anyhow::Result<()> {
        self.stream = self.place.connect()?;
        self.used = Instant::now();
        Ok(())
    }

    /// A request whose answer goes on until the other end hangs up: waits for that.
    pub(crate) fn until_closed(
        mut self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<()> {
        self.request(method, path, Some(body))?;
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer)?;
        let status = answer.split(|byte| *byte == b' ').nth(1);
        ensure!(
            status.is_some_and(|status| status.starts_with(b"2")),
            "{method} {path}: {}",
            String::from_utf8_lossy(&answer)
        );
        Ok(())
    }

    /// One request; what it answered with, which must be a success.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let answer = self.send_raw(method, path, body)?;
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).with_context(|| format!("{method} {path}"))
    }

    /// One request; the bytes that it answered with, which must be a success.
    pub(crate) fn send_raw(
        &mut self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Vec<u8>> {
        self.request(method, path, body)?;
        let (status, body) = self.answer().with_context(|| format!("{method} {path}"))?;
        self.used = Instant::now();
        ensure!(
            (200..300).contains(&status),
            "{method} {path} answered {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }

    fn request(&mut self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<()> {
        if self.used.elapsed() > IDLE {
            self.renew()?;
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = if body.is_empty() {
            ""
        } else {
            "content-type: application/json\r\n"
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\n{}{kind}content-length: {}\r\n\r\n{body}",
            self.head,
            body.len()
        );
        Ok(self.stream.get_mut().write_all(request.as_bytes())?)
    }

    /// Removes a container, whatever it does.
    pub(crate) fn remove(&mut self, id: &str) -> anyhow::Result<()> {
        let path = format!("/api/v1/containers/{id}?force=true");
        self.send("DELETE", &path, None).map(|_| ())
    }

    fn answer(&mut self) -> anyhow::Result<(u16, Vec<u8>)> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status: u16 = status.with_context(|| format!("no status: {line:?}"))?;
        let mut length = 0;
        let mut chunked = false;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':') {
                None => break,
                Some(("content-length", value)) => length = value.trim().parse()?,
                Some(("transfer-encoding", value)) => chunked = value.trim() == "chunked",
                Some(_) => {}
            }
        }
        if !chunked {
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body)?;
            return Ok((status, body));
        }
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16)?;
            let from = body.len();
            body.resize(from + size, 0);
            self.stream.read_exact(&mut body[from..])?;
            self.line()?;
            if size == 0 {
                return Ok((status, body));
            }
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the connection ended");
        }
        Ok(line.trim_end().to_owned())
    }
}
