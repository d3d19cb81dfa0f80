//! Words of an image and of a container that name commands, files and devices of the machine: other
//! engines' hooks among them. They are shown as they are, and nothing is done by them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use porthole_tests::instance::{pid, text};
use porthole_tests::{Instance, PATIENCE, host, wait_for};
use rustix::fs::inotify;
use serde_json::{Value, json};

use super::archive::{Layout, Tape, config, docker};
use super::{image, import};

/// A place of the machine that hostile words name, watched by the kernel.
struct Bait {
    directory: tempfile::TempDir,
    watch: rustix::fd::OwnedFd,
}

impl Bait {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        let script = format!("#!/bin/sh\ntouch {}/ran\n", path.display());
        for (name, content) in [
            ("program", script.as_str()),
            ("evil.so", "planted"),
            ("secret", "of the machine"),
        ] {
            std::fs::write(path.join(name), content).expect("written");
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(path.join(name), mode).expect("set");
        }
        let everybody = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(path, everybody).expect("set");
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC);
        let watch = watch.expect("inotify");
        let all = inotify::WatchFlags::OPEN
            | inotify::WatchFlags::ACCESS
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::MOVE;
        inotify::add_watch(&watch, path, all).expect("watched");
        Self { directory, watch }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Names in it that anybody has opened, made, read or changed since this was last asked.
    fn touched(&self) -> Vec<String> {
        let mut space = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watch, &mut space);
        let mut names = Vec::new();
        while let Ok(event) = events.next() {
            let name = event
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            // Who lists the directory above opens this one.
            names.extend(name);
        }
        names
    }

    /// Words that a careless program would follow, by what they are.
    fn words(&self) -> BTreeMap<String, String> {
        let (program, secret, made) =
            (self.path("program"), self.path("secret"), self.path("made"));
        let hook = json!([{"path": program, "args": [program]}]).to_string();
        let list = [
            ("substitution", format!("$(touch {made})")),
            ("backticks", format!("`touch {made}`")),
            ("next", format!("; {program} #")),
            ("pipe", format!("x | {program}")),
            ("file", secret.clone()),
            ("up", format!("../../../../../..{secret}")),
            ("url", format!("file://{secret}")),
            (
                "markup",
                "<script>alert(1)</script><img src=x onerror=alert(2)>".to_owned(),
            ),
            ("quotes", "\"'></code><b id=planted>".to_owned()),
            ("title", "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m".to_owned()),
            ("lines", "one\r\naudit:1:0000 forged line\n".to_owned()),
            ("right-to-left", "\u{202e}gpj.exe".to_owned()),
            (
                "template",
                "{{7*7}}${jndi:ldap://127.0.0.1/x}%n%s".to_owned(),
            ),
            ("com.docker.compose.project", format!("$(touch {made})")),
            ("com.docker.compose.project.config_files", secret.clone()),
            ("io.podman.annotations.userns", "host".to_owned()),
            ("io.podman.annotations.privileged", "TRUE".to_owned()),
            ("io.podman.annotations.label", "disable".to_owned()),
            ("io.containers.autoupdate", "registry".to_owned()),
            ("run.oci.hooks.stdout", self.path("made")),
            ("run.oci.hooks.prestart", hook.clone()),
            ("org.opencontainers.hooks.createRuntime", hook),
            ("run.oci.handler", program.clone()),
            ("cdi.k8s.io/devices", "nvidia.com/gpu=all".to_owned()),
            ("nvidia.com/gpu", "all".to_owned()),
            (
                "io.kubernetes.cri-o.Devices",
                "/dev/sda:/dev/sda:rwm".to_owned(),
            ),
            (
                "traefik.http.routers.x.rule",
                format!("PathPrefix(`{secret}`)"),
            ),
            (
                "org.opencontainers.image.ref.name",
                format!("../../..{made}"),
            ),
        ];
        let list = list.into_iter().map(|(name, word)| (name.to_owned(), word));
        let mut words: BTreeMap<String, String> = list.collect();
        words.insert(format!("$(touch {made})"), "as a name".to_owned());
        words.insert(
            "<i id=planted>\u{1b}[31m".to_owned(),
            "as a name".to_owned(),
        );
        words
    }
}

/// Nothing of a text speaks to a terminal or is markup of its own.
#[track_caller]
fn is_plain(what: &str, shown: &str) {
    for bad in [
        "\u{1b}",
        "\u{9b}",
        "\u{7}",
        "\u{202e}",
        "<script>alert",
        "<img src=x",
        "<b id=planted",
        "<i id=planted",
    ] {
        assert!(!shown.contains(bad), "{what} has {bad:?}");
    }
}

/// The controls: what a careless program does with these words, and that it is seen.
fn controls(bait: &Bait) {
    assert_eq!(bait.touched(), Vec::<String>::new(), "nothing so far");
    std::fs::read(bait.path("secret")).expect("read");
    assert!(bait.touched().contains(&"secret".to_owned()));
    for word in [&bait.words()["substitution"], &bait.words()["next"]] {
        let shell = Command::new("sh")
            .args(["-c", &format!("echo {word}")])
            .output();
        assert!(shell.is_ok_and(|output| output.status.success()));
    }
    let touched = bait.touched();
    for name in ["made", "ran", "program"] {
        assert!(
            touched.iter().any(|other| other == name),
            "{name}: {touched:?}"
        );
    }
}

#[test]
fn what_an_image_says_of_itself_is_shown_and_never_followed() {
    let porthole = Instance::start();
    let bait = Bait::new();
    let words = bait.words();
    let wanted = json!({
        "Entrypoint": ["/bin/sleep"], "Cmd": ["1000"], "Labels": words,
        "Env": ["PATH=/bin", format!("LD_PRELOAD={}", bait.path("evil.so")),
            format!("BASH_ENV={}", bait.path("program")), format!("X=$(touch {})", bait.path("made"))],
        "Volumes": {bait.path("volume"): {}}, "ExposedPorts": {"$(reboot)/tcp": {}},
        "Healthcheck": {"Test": ["CMD-SHELL", bait.path("program")], "Interval": 1_000_000},
        "OnBuild": [format!("RUN {}", bait.path("program"))], "Shell": [bait.path("program")],
    });
    let layout = Layout::new(vec![Tape::root().end()], &wanted);
    let mut manifest = layout.manifest();
    manifest["annotations"] = json!(words);
    manifest["layers"][0]["annotations"] = json!(words);
    manifest["layers"][0]["urls"] = json!([format!("file://{}", bait.path("secret"))]);
    manifest["config"]["annotations"] = json!(words);
    let imported = import(&porthole, "worded", &layout.write(&manifest));
    assert_eq!(imported.status, 201, "{imported}");
    let container = porthole.create(&json!({"image": "worded", "labels": words}));
    assert_eq!(container["state"], "running", "{container}");
    assert_eq!(
        porthole.sh(&container, "echo $X"),
        format!("$(touch {})", bait.path("made"))
    );
    // As they are, in JSON.
    let told = image(&porthole, "worded:latest");
    assert_eq!(told["labels"], json!(words));
    assert_eq!(told["labels_left_out"], 0);
    let id = text(&container["id"]);
    assert_eq!(porthole.container(&id)["labels"], json!(words));
    // As text, on pages and in the log.
    let pages = [
        "/images/worded:latest".to_owned(),
        "/images".to_owned(),
        "/containers".to_owned(),
        format!("/containers/{id}"),
        "/settings/audit".to_owned(),
    ];
    for path in &pages {
        let page = porthole.admin().get(path);
        assert_eq!(page.status, 200, "{path}");
        is_plain(path, &page.body);
    }
    let page = porthole.admin().get(&pages[0]).body;
    let shown = ["&#60;script&#62;alert(1)", "&lt;script&gt;alert(1)"];
    assert!(
        shown.iter().any(|there| page.contains(there)),
        "the label is there, as text: {page}"
    );
    porthole
        .admin()
        .act(&format!("/api/v1/containers/{id}/stop"))
        .ok();
    is_plain("the log", &porthole.log());
    assert!(
        !porthole.log().contains("forged line"),
        "{}",
        porthole.log()
    );
    // No process of Porthole's has the image's variables.
    for process in porthole.processes() {
        let variables = host::environment(process).join("\n");
        assert!(!variables.contains("evil.so"), "{process}: {variables}");
    }
    controls(&bait);
}

#[test]
fn labels_that_other_engines_obey_change_nothing_of_a_container() {
    let porthole = Instance::start();
    let bait = Bait::new();
    let make = |labels: Value| {
        porthole.create(&json!({
            "image": "busybox", "command": ["sleep", "infinity"], "labels": labels, "network": "none",
        }))
    };
    let plain = make(json!({}));
    let labelled = make(json!(bait.words()));
    let is = |container: &Value| {
        let process = pid(&container["pid"]);
        let status = host::status(process);
        let kept = ["CapEff", "CapBnd", "NoNewPrivs", "Seccomp"].map(|name| status[name].clone());
        let mounts = porthole.sh(container, "cut -d' ' -f5 /proc/1/mountinfo | sort");
        let devices = porthole.sh(container, "ls /dev; env | grep -c -i nvidia");
        (kept, mounts, devices)
    };
    assert_eq!(is(&plain), is(&labelled));
    let (own, machine) = (host::namespaces(pid(&labelled["pid"])), host::namespaces(1));
    for (kind, inode) in own.iter().filter(|(kind, _)| *kind != "time") {
        assert_ne!(Some(inode), machine.get(kind), "{kind}");
    }
    // The control: what asks for a change by its right name makes one.
    let sharing = porthole.create(&json!({
        "image": "busybox", "command": ["sleep", "infinity"], "network": "none",
        "namespaces": {"ipc": format!("container:{}", text(&plain["id"]))},
    }));
    let ipc = |container: &Value| host::namespaces(pid(&container["pid"]))["ipc"];
    assert_eq!(ipc(&sharing), ipc(&plain));
    assert_ne!(ipc(&labelled), ipc(&plain));
    controls(&bait);
}

#[test]
fn places_that_an_image_names_are_its_own() {
    let porthole = Instance::start();
    let bait = Bait::new();
    let layers = vec![Tape::root().end()];
    let with = |name: &str, wanted: &Value| {
        import(
            &porthole,
            name,
            &docker("x:1", &layers, &config(&layers, wanted)),
        )
    };
    // A program of the machine's is none of the image's.
    let wanted = json!({"Entrypoint": [bait.path("program")], "Env": ["PATH=/bin"]});
    assert_eq!(with("outside", &wanted).status, 201);
    let made = porthole.create(&json!({"image": "outside"}));
    assert_ne!(made["state"], "running", "{made}");
    assert!(text(&made["error"]).contains("program"), "{made}");
    // A directory that leads out of it leads nowhere but into it.
    let up = format!(
        "/proc/self/root/../../../../../..{}",
        bait.directory.path().display()
    );
    for (number, workdir) in [
        up.as_str(),
        "../../../../../..",
        "/proc/1/root",
        "/proc/self/cwd/../..",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("workdir{number}");
        let wanted =
            json!({"Cmd": ["/bin/sleep", "1000"], "WorkingDir": workdir, "Env": ["PATH=/bin"]});
        let imported = with(&name, &wanted);
        if imported.status != 201 {
            let why = imported.refused(422);
            assert!(text(&why["message"]).contains("WorkingDir"), "{why}");
            continue;
        }
        let made = porthole.create(&json!({"image": name}));
        if made["state"] != "running" {
            assert!(!text(&made["error"]).is_empty(), "{made}");
            continue;
        }
        // Its files are those of the container, and the machine's are not among them.
        let seen = porthole.sh(&made, "ls; ls /proc/1/cwd/");
        assert!(!seen.contains("secret"), "{workdir}: {seen}");
        assert_eq!(porthole.sh(&made, "ls -d /bin/busybox"), "/bin/busybox");
    }
    controls(&bait);
}

#[test]
fn users_and_names_of_odd_bytes_are_refused_in_plain_words() {
    let porthole = Instance::start();
    let bait = Bait::new();
    let layers = vec![Tape::root().end()];
    let as_user = |user: &str| {
        let wanted = json!({"Cmd": ["/bin/sleep", "1000"], "User": user});
        import(
            &porthole,
            "users",
            &docker("x:1", &layers, &config(&layers, &wanted)),
        )
    };
    for user in [
        "root\u{1b}[2J",
        "root\n",
        "\u{202e}toor",
        "../../etc/passwd",
        &format!("$(touch {})", bait.path("made")),
        "0:0:0",
        "root;id",
    ] {
        let told = as_user(user).refused(422);
        let message = text(&told["message"]);
        assert!(message.contains("User"), "{user:?}: {told}");
        is_plain("the answer", &message);
    }
    assert_eq!(as_user("app").status, 201, "the control");
    // What an archive calls its image is a name or nothing.
    for name in [
        format!("../../../../../..{}", bait.path("made")),
        format!("{}:latest", bait.path("made")),
        "a/../../b:c".to_owned(),
        "x/\u{1b}[2J:y".to_owned(),
        format!("$(touch {}):x", bait.path("made")),
    ] {
        let layout = Layout::new(layers.clone(), &json!({"Cmd": ["/bin/sh"]}));
        let archive = named(&layout, &name);
        let answer = porthole.admin().post_bytes("/api/v1/images", &archive[..]);
        let told = answer.refused(422);
        assert_eq!(told["field"], "name", "{name:?}: {told}");
        is_plain("the answer", &text(&told["message"]));
    }
    let layout = Layout::new(layers.clone(), &json!({"Cmd": ["/bin/sh"]}));
    let good = porthole
        .admin()
        .post_bytes("/api/v1/images", &named(&layout, "shop/app:3")[..]);
    assert_eq!(good.status, 201, "the control: {good}");
    wait_for("the refusals to be told", PATIENCE, || {
        let log = porthole.log();
        is_plain("the log", &log);
        (!log.is_empty()).then_some(())
    });
    assert!(!Path::new(&bait.path("made")).exists());
    controls(&bait);
}

/// An OCI image layout that calls its image so.
fn named(layout: &Layout, name: &str) -> Vec<u8> {
    let manifest = layout.manifest();
    layout.write_with(
        &manifest,
        &json!({"org.opencontainers.image.ref.name": name}),
    )
}
