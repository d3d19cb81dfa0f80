//! Archives made here, byte by byte, so that they can be as no honest program writes them.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A tar that is being written.
#[derive(Clone, Default)]
pub(crate) struct Tape(Vec<u8>);

/// Where Debian's busybox-static puts it.
const BUSYBOX: &str = "/bin/busybox";

/// Links to busybox in the root file systems that are made here.
const APPLETS: [&str; 22] = [
    "sh", "ls", "cat", "id", "stat", "env", "pwd", "sleep", "test", "readlink", "find", "touch",
    "rm", "mkdir", "grep", "wc", "ln", "true", "echo", "head", "trap", "chmod",
];

impl Tape {
    /// One entry, whatever it says.
    pub(crate) fn entry(
        mut self,
        kind: u8,
        path: &str,
        link: &str,
        (mode, owner): (u32, u64),
        data: &[u8],
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        {
            let old = header.as_old_mut();
            assert!(path.len() <= 100 && link.len() <= 100, "{path} {link}");
            old.name[..path.len()].copy_from_slice(path.as_bytes());
            old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_mtime(1_700_000_000);
        header.set_size(data.len() as u64);
        if matches!(kind, b'3' | b'4') {
            header.set_device_major(1).expect("gnu");
            header.set_device_minor(3).expect("gnu");
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.data(data)
    }

    fn data(mut self, data: &[u8]) -> Self {
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The same with the header's size changed afterwards.
    pub(crate) fn lying_about_size(mut self, size: u64) -> Self {
        let at = self.0.len() - 512;
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes().copy_from_slice(&self.0[at..]);
        header.set_size(size);
        header.set_cksum();
        self.0[at..].copy_from_slice(header.as_bytes());
        self
    }

    pub(crate) fn file(self, path: &str, data: &[u8]) -> Self {
        self.entry(b'0', path, "", (0o644, 0), data)
    }

    pub(crate) fn program(self, path: &str, data: &[u8]) -> Self {
        self.entry(b'0', path, "", (0o755, 0), data)
    }

    pub(crate) fn directory(self, path: &str) -> Self {
        self.entry(b'5', path, "", (0o755, 0), b"")
    }

    pub(crate) fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(b'2', path, target, (0o777, 0), b"")
    }

    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        self.entry(b'1', path, target, (0o644, 0), b"")
    }

    /// Pax records for the next entry.
    pub(crate) fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            write!(data, "{length} {key}=").expect("memory");
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        self.entry(b'x', "pax", "", (0o644, 0), &data)
    }

    /// A root file system in which busybox runs.
    pub(crate) fn root() -> Self {
        let busybox = std::fs::read(BUSYBOX).expect("busybox-static is installed");
        let mut tape = Self::default().directory("./").directory("./bin/");
        tape = tape.program("./bin/busybox", &busybox);
        for applet in APPLETS {
            tape = tape.symlink(&format!("./bin/{applet}"), "busybox");
        }
        tape.directory("./etc/")
            .file(
                "./etc/passwd",
                b"root:x:0:0:root:/root:/bin/sh\napp:x:1234:1234::/srv:/bin/sh\n",
            )
            .file("./etc/group", b"root:x:0:\napp:x:1234:\nextra:x:77:app\n")
            .entry(b'5', "./tmp/", "", (0o1777, 0), b"")
    }

    /// The archive, whole.
    pub(crate) fn end(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }
}

/// A digest as images write it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// An image's configuration with these layers.
pub(crate) fn config(layers: &[Vec<u8>], wanted: &Value) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    json!({
        "created": "2024-05-06T07:08:09Z", "architecture": architecture, "os": "linux",
        "config": wanted, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes()
}

/// What `docker save` would write.
pub(crate) fn docker(tag: &str, layers: &[Vec<u8>], config: &[u8]) -> Vec<u8> {
    let name = format!("{}.json", &digest(config)[7..]);
    let mut tape = Tape::default();
    let mut names = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let path = format!("layer{number}/layer.tar");
        tape = tape
            .directory(&format!("layer{number}/"))
            .file(&path, layer);
        names.push(path);
    }
    let manifest = json!([{"Config": name, "RepoTags": [tag], "Layers": names}]);
    tape.file(&name, config)
        .file("manifest.json", manifest.to_string().as_bytes())
        .end()
}

/// What goes into an OCI image layout, to be changed before it is written.
pub(crate) struct Layout {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) layer_type: String,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest_type: String,
}

impl Layout {
    pub(crate) fn new(layers: Vec<Vec<u8>>, wanted: &Value) -> Self {
        Self {
            config: config(&layers, wanted),
            layers,
            layer_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
            manifest_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        }
    }

    pub(crate) fn manifest(&self) -> Value {
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                json!({"mediaType": self.layer_type, "digest": digest(layer), "size": layer.len()})
            })
            .collect();
        json!({
            "schemaVersion": 2, "mediaType": self.manifest_type,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&self.config), "size": self.config.len(),
            },
            "layers": layers,
        })
    }

    /// The tar, with this manifest.
    pub(crate) fn write(&self, manifest: &Value) -> Vec<u8> {
        self.write_with(manifest, &json!({}))
    }

    /// The same, whose index says this of it.
    pub(crate) fn write_with(&self, manifest: &Value, annotations: &Value) -> Vec<u8> {
        let manifest = manifest.to_string().into_bytes();
        let index = json!({"schemaVersion": 2, "manifests": [{
            "mediaType": self.manifest_type, "digest": digest(&manifest), "size": manifest.len(),
            "annotations": annotations,
        }]});
        let mut tape = Tape::default()
            .file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
            .file("index.json", index.to_string().as_bytes());
        for blob in self.layers.iter().chain([&self.config, &manifest]) {
            let digits = &digest(blob)[7..];
            // A name of more than 100 bytes would need an extension; this one has 77.
            tape = tape.file(&format!("blobs/sha256/{digits}"), blob);
        }
        tape.end()
    }
}

/// What is compressed by a program.
pub(crate) fn compressed(program: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut child = std::process::Command::new(program)
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().expect("stdin");
    let bytes = bytes.to_owned();
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = child.wait_with_output().expect("output");
    writer.join().expect("a thread").expect("written");
    output.status.success().then_some(output.stdout)
}

/// Everything below a directory.
pub(crate) fn names_below(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    names
}
