use super::*;

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
fn what_cannot_be_used_is_said() {
    let tls = Given {
        tls_cert: Some("c.pem".into()),
        ..Given::default()
    };
    assert!(matches!(tls.resolve(), Err(SettingsError::Tls)));
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
