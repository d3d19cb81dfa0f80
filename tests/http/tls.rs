//! TLS by a certificate of whoever operates Porthole, as curl, openssl and a WebSocket see it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use porthole_protocol::frame::{SUBPROTOCOL, ServerFrame};
use porthole_tests::instance::{ADMIN, PASSWORD, text};
use porthole_tests::{Instance, PATIENCE, wait_for};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::client::IntoClientRequest as _;

/// A directory with a certificate for `localhost` and its key, which only root reads.
struct Files {
    directory: TempDir,
    der: Vec<u8>,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut files = Self {
            directory,
            der: Vec::new(),
        };
        files.renew();
        files
    }

    /// Another pair in the place of the one that is there.
    fn renew(&mut self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        self.put("key.pem", &made.signing_key.serialize_pem());
        self.put("cert.pem", &made.cert.pem());
        self.der = made.cert.der().to_vec();
    }

    fn put(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).expect("written");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).expect("closed");
        fs::rename(&new, self.path(name)).expect("put there");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(&self) -> Instance {
        Instance::builder()
            .without_account()
            .with("PORTHOLE_ADMIN_PASSWORD", PASSWORD)
            .with(
                "PORTHOLE_TLS_CERT",
                &self.path("cert.pem").display().to_string(),
            )
            .with(
                "PORTHOLE_TLS_KEY",
                &self.path("key.pem").display().to_string(),
            )
            .start()
    }

    /// What curl prints, with the answer's head.
    fn curl(&self, porthole: &Instance, path: &str, more: &[&str]) -> String {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--include",
                "--max-time",
                "20",
                "--cacert",
            ])
            .arg(self.path("cert.pem"))
            .args(more)
            .arg(format!(
                "https://localhost:{}{path}",
                porthole.address().port()
            ))
            .output()
            .expect("curl");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// A connection that takes this certificate and no other.
    fn connect(
        &self,
        porthole: &Instance,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone().into()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        let stream = TcpStream::connect(porthole.address()).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let mut stream = StreamOwned::new(connection, stream);
        stream.flush().map_err(|error| error.to_string())?;
        Ok(stream)
    }
}

/// What openssl says of a handshake with these options.
fn openssl(porthole: &Instance, options: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &porthole.address().to_string()])
        .args(options)
        .stdin(Stdio::null())
        .output()
        .expect("openssl");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_browser_is_answered_over_tls_1_2_and_newer_and_by_nothing_older() {
    let files = Files::new();
    let porthole = files.start();
    let answer = files.curl(&porthole, "/healthz", &[]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let lax = ["-cipher", "DEFAULT:@SECLEVEL=0"];
    for (version, there) in [
        ("-tls1_2", true),
        ("-tls1_3", true),
        ("-tls1_1", false),
        ("-tls1", false),
    ] {
        let said = openssl(&porthole, &[&[version], &lax[..]].concat());
        assert_eq!(
            said.contains("BEGIN CERTIFICATE"),
            there,
            "{version}: {said}"
        );
    }
    // Who takes only another certificate does not come in: the control to curl's answer above.
    let other = Files::new();
    assert!(
        other
            .curl(&porthole, "/healthz", &[])
            .contains("certificate")
    );
}

#[test]
fn cookies_and_origins_are_of_https() {
    let files = Files::new();
    let porthole = files.start();
    let port = porthole.address().port();
    let body = json!({"user": ADMIN, "password": PASSWORD}).to_string();
    let sign_in = |scheme: &str| {
        let origin = format!("Origin: {scheme}://localhost:{port}");
        let kind = "Content-Type: application/json";
        files.curl(
            &porthole,
            "/api/v1/login",
            &["-H", &origin, "-H", kind, "-d", &body],
        )
    };
    let answer = sign_in("https");
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    let cookie = answer
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .expect("a cookie");
    assert!(cookie.starts_with("__Host-porthole="), "{cookie}");
    for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let answer = sign_in("http");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let answer = files.curl(&porthole, "/healthz", &["-H", "Host: evil.example"]);
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
}

#[test]
fn plain_http_is_told_in_words_and_a_stalled_handshake_holds_up_nobody() {
    let files = Files::new();
    let porthole = files.start();
    let answer = porthole.anonymous().get("/containers");
    assert_eq!(answer.status, 400, "{answer}");
    assert!(
        answer
            .body
            .contains(&format!("https://{}", porthole.address())),
        "{answer}"
    );

    let stalled: Vec<TcpStream> = (0..50)
        .map(|_| TcpStream::connect(porthole.address()).expect("connected"))
        .collect();
    let answer = files.curl(&porthole, "/healthz", &[]);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for mut stream in stalled {
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        assert_eq!(
            stream.read(&mut [0]).map_err(|error| error.kind()),
            Ok(0),
            "it is closed"
        );
    }
}

#[test]
fn a_renewed_certificate_is_in_force_soon_and_open_terminals_stay() {
    let mut files = Files::new();
    let porthole = files.start();
    let token = token(&files, &porthole);
    let spec = json!({"image": "busybox", "command": ["sh"], "tty": true}).to_string();
    let bearer = format!("Authorization: Bearer {token}");
    let kind = "Content-Type: application/json";
    let made = files.curl(
        &porthole,
        "/api/v1/containers",
        &["-H", &bearer, "-H", kind, "-d", &spec],
    );
    let id = text(&body_of(&made)["id"]);
    let path = format!("/api/v1/containers/{id}/sessions");
    let made = files.curl(
        &porthole,
        &path,
        &["-H", &bearer, "-H", kind, "-d", "{\"command\":[\"sh\"]}"],
    );
    let session = text(&body_of(&made)["id"]);

    let address = format!(
        "wss://localhost:{}/api/v1/sessions/{session}/attach?resume=0",
        porthole.address().port()
    );
    let mut request = address.into_client_request().expect("a request");
    let headers = request.headers_mut();
    headers.insert(
        "sec-websocket-protocol",
        SUBPROTOCOL.parse().expect("a value"),
    );
    headers.insert(
        "authorization",
        format!("Bearer {token}").parse().expect("a value"),
    );
    let stream = files.connect(&porthole).expect("a connection");
    let (mut socket, _) = tungstenite::client(request, stream).expect("an upgrade");
    let hello = socket.read().expect("a message").into_data();
    assert!(matches!(
        ServerFrame::decode(&hello),
        Ok(ServerFrame::Hello { .. })
    ));

    // What does not belong together changes nothing, and is told.
    let old = fs::read_to_string(files.path("key.pem")).expect("read");
    files.put(
        "key.pem",
        &rcgen::KeyPair::generate().expect("a key").serialize_pem(),
    );
    wait_for("a word of it", PATIENCE, || {
        porthole
            .log()
            .contains("is not the key of the first certificate")
            .then_some(())
    });
    assert!(
        files
            .curl(&porthole, "/healthz", &[])
            .starts_with("HTTP/1.1 200")
    );
    files.put("key.pem", &old);

    files.renew();
    wait_for("the new certificate", PATIENCE, || {
        let answer = files.curl(&porthole, "/healthz", &[]);
        answer.starts_with("HTTP/1.1 200").then_some(())
    });
    // The connection of before is still one.
    socket
        .send(tungstenite::Message::Binary(
            vec![6, 0, 0, 0, 0, 0, 0, 0, 9].into(),
        ))
        .expect("sent");
    wait_for("the heartbeat's answer", Duration::from_secs(10), || {
        let message = socket.read().expect("a message").into_data();
        matches!(ServerFrame::decode(&message), Ok(ServerFrame::Heartbeat(9))).then_some(())
    });
    let path = format!("/api/v1/containers/{id}?force=true");
    let removed = files.curl(&porthole, &path, &["-X", "DELETE", "-H", &bearer]);
    assert!(removed.starts_with("HTTP/1.1 20"), "{removed}");
}

/// The JSON below an answer's head.
fn body_of(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    serde_json::from_str(body).expect("JSON")
}

/// A token of the administrator.
fn token(files: &Files, porthole: &Instance) -> String {
    let body = json!({"user": ADMIN, "password": PASSWORD}).to_string();
    let port = porthole.address().port();
    let origin = format!("Origin: https://localhost:{port}");
    let kind = "Content-Type: application/json";
    let jar = files.path("jar").display().to_string();
    files.curl(
        porthole,
        "/api/v1/login",
        &["-c", &jar, "-H", &origin, "-H", kind, "-d", &body],
    );
    let made = files.curl(
        porthole,
        "/api/v1/tokens",
        &[
            "-b",
            &jar,
            "-H",
            &origin,
            "-H",
            kind,
            "-d",
            "{\"name\":\"machine\"}",
        ],
    );
    text(&body_of(&made)["token"])
}

#[test]
fn what_cannot_be_used_keeps_it_from_starting_in_words() {
    let files = Files::new();
    let porthole = files.start();
    let mut command = porthole.command();
    // As a second one with another state: what is wrong is said before anything is opened.
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    files.put("other.pem", &other);
    let mut say = |key: &str| {
        let output = command
            .env("PORTHOLE_TLS_KEY", files.path(key))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .expect("it ends");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(say("other.pem").contains("is not the key of the first certificate"));
    assert!(say("missing.pem").contains("missing.pem cannot be read: No such file"));
    assert!(say("cert.pem").contains("holds no private key"));
    let output = porthole
        .command()
        .env_remove("PORTHOLE_TLS_KEY")
        .output()
        .expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("PORTHOLE_TLS_KEY is not"), "{said}");
    // The control: with the right one it says that another is running.
    assert!(say("key.pem").contains("runs already"));
}
