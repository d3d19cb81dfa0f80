use super::*;
use crate::access::limits::{Ceiling, Kind};

fn listen(address: &str) -> Given {
    Given {
        listen: Some(address.into()),
        ..Given::default()
    }
}

#[test]
fn flags_then_environment_then_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    std::fs::write(
        &path,
        "listen = \"127.0.0.1:1\"\nroot = \"/file\"\nrun = \"/file\"\n",
    )
    .expect("written");
    let file = Given::from_file(&path).expect("read");
    let env = Given::from_env(|name| match name {
        "PORTHOLE_LISTEN" => Some("127.0.0.1:2".into()),
        "PORTHOLE_ROOT" => Some("/env".into()),
        "PORTHOLE_PUBLIC_URL" => Some(String::new()),
        _ => None,
    })
    .expect("read");
    let settings = listen("127.0.0.1:3")
        .or(env)
        .or(file)
        .resolve()
        .expect("resolved");
    assert_eq!(settings.listen.port(), 3, "the flag's");
    assert_eq!(settings.root, Path::new("/env"), "the environment's");
    assert_eq!(settings.run, Path::new("/file"), "the file's");
    assert_eq!(settings.public_url, None, "an empty variable says nothing");
    assert_eq!(settings.socket, Path::new("/file/porthole.sock"));
}

#[test]
fn the_defaults() {
    let settings = Given::default().resolve().expect("resolved");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:7678");
    assert_eq!(settings.socket, Path::new("/run/porthole/porthole.sock"));
    assert_eq!(settings.root, Path::new("/var/lib/porthole"));
    assert_eq!(settings.address(), "http://127.0.0.1:7678");
}

#[test]
fn plain_http_beyond_loopback_must_be_asked_for() {
    for address in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
        let error = listen(address).resolve().expect_err(address);
        assert!(error.to_string().contains("--insecure-http"), "{error}");
        let told = Given {
            insecure_http: Some(true),
            ..listen(address)
        };
        assert!(told.resolve().is_ok(), "{address}");
    }
    for address in ["127.0.0.2:80", "[::1]:80", "localhost:80"] {
        assert!(listen(address).resolve().is_ok(), "{address}");
    }
}

#[test]
fn with_a_certificate_it_may_be_reached_from_elsewhere() {
    let given = Given {
        tls_cert: Some("c.pem".into()),
        tls_key: Some("/k.pem".into()),
        ..listen("0.0.0.0:443")
    };
    let settings = given.resolve().expect("resolved");
    assert_eq!(settings.address(), "https://127.0.0.1:443");
    let tls = settings.tls.as_ref().expect("TLS");
    assert!(tls.cert.is_absolute() && tls.cert.ends_with("c.pem"));
    let told = settings.to_env();
    let read = Given::from_env(|name| {
        let variable = told.iter().find(|(told, _)| *told == name);
        variable.map(|(_, value)| value.clone())
    });
    let again = read.expect("read").resolve().expect("resolved");
    assert_eq!(again.tls, settings.tls);
}

#[test]
fn what_cannot_be_used_is_said() {
    let tls = Given {
        tls_cert: Some("c.pem".into()),
        ..Given::default()
    };
    let error = tls.resolve().expect_err("half").to_string();
    assert!(error.contains("PORTHOLE_TLS_KEY is not"), "{error}");
    for address in ["7678", "localhost", "127.0.0.1", "127.0.0.1:70000", "x:1"] {
        let error = listen(address).resolve().expect_err(address).to_string();
        assert!(error.contains("PORTHOLE_LISTEN"), "{error}");
    }
    for url in [
        "example.org",
        "ftp://x",
        "http://u@x/",
        "http://x/?q",
        "https://x/a/../b",
        "http://200[1:db8::1]:80",
    ] {
        assert!(url.parse::<PublicUrl>().is_err(), "{url}");
    }
    let url: PublicUrl = "https://X.example:8443/hole/".parse().expect("valid");
    assert_eq!(url.to_string(), "https://x.example:8443/hole");
}

#[test]
fn an_unknown_setting_in_the_file_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    std::fs::write(&path, "listne = \"127.0.0.1:1\"\n").expect("written");
    let error = Given::from_file(&path).expect_err("refused").to_string();
    assert!(error.contains("listne"), "{error}");
    let nowhere = Given::from_file(&directory.path().join("none"));
    assert_eq!(nowhere.expect("nothing"), Given::default());
}

#[test]
fn what_is_handed_on_resolves_to_the_same() {
    let given = Given {
        public_url: Some("https://x.example/hole".into()),
        admin_password: Some("correct horse".into()),
        run: Some("/r".into()),
        ..listen("127.0.0.1:5")
    };
    let settings = given.resolve().expect("resolved");
    let env = settings.to_env();
    let again = Given::from_env(|name| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.clone())
    });
    let again = again.expect("read").resolve().expect("resolved");
    assert_eq!(format!("{again:?}"), format!("{settings:?}"));
    assert_eq!(again.admin_password, settings.admin_password);
}

#[test]
fn what_accounts_may_have_is_said_by_file_and_environment_and_handed_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    let table = "[user_limits]\ncontainers = 5\nmemory = 4294967296\npids = \"unlimited\"\n";
    std::fs::write(&path, table).expect("written");
    let file = Given::from_file(&path).expect("read");
    let env = |text: &str| {
        Given::from_env(|name| (name == "PORTHOLE_USER_LIMITS").then(|| text.to_owned()))
    };
    let nearer = env("containers = 7, cpus = 1.5").expect("read");
    let settings = nearer.or(file).resolve().expect("resolved");
    let limits = settings.user_limits;
    assert_eq!(limits.get(Kind::Containers), Some(Ceiling::Most(7)));
    assert_eq!(limits.get(Kind::Memory), Some(Ceiling::Most(1 << 32)));
    assert_eq!(limits.get(Kind::Cpus), Some(Ceiling::Most(1500)));
    assert_eq!(limits.get(Kind::Pids), Some(Ceiling::Unlimited));
    let handed_on = settings.to_env();
    let again = Given::from_env(|name| {
        let found = handed_on.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.clone())
    });
    let again = again.expect("read").resolve().expect("resolved");
    assert_eq!(again.user_limits, limits);
    for bad in [
        "containers",
        "disk = 1",
        "memory = -1",
        "memory = 1 } x = {",
    ] {
        let error = env(bad).expect_err(bad).to_string();
        assert!(error.contains("PORTHOLE_USER_LIMITS"), "{error}");
    }
}

#[test]
fn a_file_with_a_password_that_everybody_can_read_is_refused_in_words() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    let with = |text: &str, mode| {
        std::fs::write(&path, text).expect("written");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("set");
        Given::from_file(&path)
    };
    let password = "admin_password = \"correct horse\"\n";
    for open in [0o644, 0o604] {
        let why = with(password, open).expect_err("everybody reads it");
        let words = why.to_string();
        assert!(
            words.contains("chmod 600") && !words.contains("horse"),
            "{words}"
        );
    }
    // The controls.
    for kept in [0o600, 0o640] {
        assert!(with(password, kept).is_ok());
    }
    assert!(with("listen = \"127.0.0.1:1\"\n", 0o644).is_ok());
    with(password, 0o644).expect_err("the same again");
    let file = Given {
        admin_password_file: Some(path.clone()),
        ..Given::default()
    };
    assert_eq!(file.exposed_password_file(), Some(path.as_path()));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(file.exposed_password_file(), None);
}

#[test]
fn who_is_believed_is_handed_on_by_number() {
    let with = |text: &str| Given {
        trusted_proxy: Some(text.into()),
        ..listen("127.0.0.1:5")
    };
    let settings = with("root, 192.0.2.9").resolve().expect("resolved");
    let env = settings.to_env();
    let handed_on = env
        .iter()
        .find(|(name, _)| *name == "PORTHOLE_TRUSTED_PROXY");
    assert_eq!(
        handed_on.map(|(_, value)| value.as_str()),
        Some("192.0.2.9,0")
    );
    let why = with("127.0.0.1").resolve().expect_err("anybody's");
    assert!(why.to_string().contains("name the account"), "{why}");
}
