//! An image's configuration, as Docker and OCI write it.

use std::collections::BTreeMap;

use porthole_protocol::container::{Argument, EnvName, Signal, Timestamp};
use porthole_protocol::image::{Digest, ImageConfig, StoredImage};
use serde::Deserialize;

use super::refusal::Refusal;

/// What of it is read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) config: ImageConfig,
    pub(super) created_at: Option<Timestamp>,
    pub(super) diff_ids: Vec<Digest>,
}

#[derive(Debug, Deserialize)]
struct Document {
    created: Option<String>,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    config: Option<Config>,
    rootfs: Rootfs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
    labels: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
struct Rootfs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<String>,
}

/// This machine, as images call it.
pub(super) const ARCHITECTURE: &str = match () {
    #[cfg(target_arch = "x86_64")]
    () => "amd64",
    #[cfg(target_arch = "aarch64")]
    () => "arm64",
};

/// Reads it.
pub(super) fn read(name: &str, text: &[u8]) -> Result<Read, Refusal> {
    let document: Document = serde_json::from_slice(text)
        .map_err(|error| Refusal::BadDocument(name.to_owned(), error.to_string()))?;
    check_platform(&document.os, &document.architecture)?;
    if document.rootfs.kind != "layers" {
        return Err(Refusal::MediaType(name.to_owned(), document.rootfs.kind));
    }
    let diff_ids = document
        .rootfs
        .diff_ids
        .into_iter()
        .map(|text| {
            text.parse()
                .map_err(|_| Refusal::Config("rootfs.diff_ids", format!("{text:?} is no SHA-256")))
        })
        .collect::<Result<Vec<Digest>, _>>()?;
    if !(1..=StoredImage::LAYERS).contains(&diff_ids.len()) {
        return Err(Refusal::Layers(diff_ids.len()));
    }
    // A date that is none is not worth an image.
    let created_at = document
        .created
        .and_then(|text| Timestamp::try_from(text).ok());
    Ok(Read {
        config: wanted(document.config.unwrap_or_default())?,
        created_at,
        diff_ids,
    })
}

/// Refuses what this machine could not run.
pub(super) fn check_platform(os: &str, architecture: &str) -> Result<(), Refusal> {
    let fits = |said: &str, ours: &str| said.is_empty() || said == ours;
    if fits(os, "linux") && fits(architecture, ARCHITECTURE) {
        return Ok(());
    }
    Err(Refusal::Platform(
        format!("{os:?} on {architecture:?}"),
        format!("linux on {ARCHITECTURE}"),
    ))
}

fn wanted(config: Config) -> Result<ImageConfig, Refusal> {
    let refuse = |field| move |why: String| Refusal::Config(field, why);
    let words = |field, words: Option<Vec<String>>| {
        words
            .unwrap_or_default()
            .into_iter()
            .map(|word| Argument::try_from(word).map_err(|e| refuse(field)(e.to_string())))
            .collect::<Result<Vec<_>, _>>()
    };
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let user = some(config.user)
        .map(|text| {
            text.parse()
                .map_err(|e| refuse("User")(format!("{text:?}: {e}")))
        })
        .transpose()?;
    let workdir = some(config.working_dir)
        .map(|text| {
            // As docker does: a relative one begins at the root.
            let path = if text.starts_with('/') {
                text
            } else {
                format!("/{text}")
            };
            path.parse()
                .map_err(|e| refuse("WorkingDir")(format!("{path:?}: {e}")))
        })
        .transpose()?;
    let stop_signal = some(config.stop_signal)
        .map(|text| stop_signal(&text))
        .transpose()?;
    let wanted = ImageConfig {
        entrypoint: words("Entrypoint", config.entrypoint)?,
        command: words("Cmd", config.cmd)?,
        env: variables(config.env.unwrap_or_default())?,
        user,
        workdir,
        stop_signal,
        ..ImageConfig::default()
    }
    .labelled(labels(config.labels.unwrap_or_default()));
    if wanted.fits() {
        Ok(wanted)
    } else {
        Err(refuse("Cmd")(format!(
            "command and variables have more than {} bytes together",
            ImageConfig::WORDS
        )))
    }
}

/// Labels are words. One that is none is not worth an image.
fn labels(said: BTreeMap<String, serde_json::Value>) -> BTreeMap<String, String> {
    let word = |value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let said = said.into_iter();
    said.map(|(name, value)| (name, word(value))).collect()
}

fn stop_signal(text: &str) -> Result<Signal, Refusal> {
    text.parse()
        .map_err(|e| Refusal::Config("StopSignal", format!("{text:?}: {e}")))
}

fn variables(lines: Vec<String>) -> Result<BTreeMap<EnvName, Argument>, Refusal> {
    lines
        .into_iter()
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap_or((&line, ""));
            let bad = |why: String| Refusal::Config("Env", format!("{name:?}: {why}"));
            Ok((
                EnvName::try_from(name.to_owned()).map_err(|e| bad(e.to_string()))?,
                Argument::try_from(value.to_owned()).map_err(|e| bad(e.to_string()))?,
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(config: &str) -> Result<Read, Refusal> {
        let diff = format!("sha256:{}", "a".repeat(64));
        let text = format!(
            r#"{{"created":"2024-01-02T03:04:05Z","architecture":"{ARCHITECTURE}","os":"linux",
               "config":{config},"rootfs":{{"type":"layers","diff_ids":["{diff}"]}}}}"#
        );
        read("the configuration", text.as_bytes())
    }

    #[test]
    fn what_an_image_wants_is_read() {
        let read = with(
            r#"{"Entrypoint":["/e"],"Cmd":null,"Env":["A=b=c","EMPTY=","BARE"],"User":"app:1",
                "WorkingDir":"srv","StopSignal":"SIGQUIT","Labels":{"x":"/etc/shadow"}}"#,
        )
        .expect("good");
        assert_eq!(read.config.entrypoint[0].as_str(), "/e");
        assert!(read.config.command.is_empty());
        let env: Vec<_> = read
            .config
            .env
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(env, ["A=b=c", "BARE=", "EMPTY="]);
        assert_eq!(read.config.workdir.expect("given").as_str(), "/srv");
        assert_eq!(read.config.user.expect("given").to_string(), "app:1");
        assert!(read.created_at.is_some() && read.config.stop_signal.is_some());
        assert_eq!(read.config.labels["x"], "/etc/shadow");
        assert!(with("null").expect("none").config.command.is_empty());
        let odd = with(r#"{"Labels":{"n":1,"o":{"a":[]},"z":null}}"#).expect("good");
        let values: Vec<_> = odd.config.labels.into_values().collect();
        assert_eq!(values, ["1", r#"{"a":[]}"#, "null"]);
    }

    #[test]
    fn what_could_mean_two_things_is_refused_by_its_name() {
        for (field, config) in [
            ("User", r#"{"User":"4294967296"}"#),
            ("User", r#"{"User":"0 "}"#),
            ("User", r#"{"User":"-1"}"#),
            ("User", r#"{"User":"../etc"}"#),
            ("User", r#"{"User":"0:65536"}"#),
            ("StopSignal", r#"{"StopSignal":"SIGNOPE"}"#),
            ("StopSignal", r#"{"StopSignal":"99"}"#),
            ("Env", r#"{"Env":["=x"]}"#),
            ("Cmd", r#"{"Cmd":["a\u0000b"]}"#),
            ("WorkingDir", r#"{"WorkingDir":"/a\u0000b"}"#),
        ] {
            match with(config) {
                Err(Refusal::Config(named, _)) => assert_eq!(named, field),
                other => panic!("{config}: {other:?}"),
            }
        }
        assert!(with(r#"{"User":"0"}"#).is_ok(), "control");
    }

    #[test]
    fn another_machines_image_is_refused() {
        assert!(check_platform("linux", ARCHITECTURE).is_ok());
        assert!(check_platform("", "").is_ok());
        assert!(check_platform("windows", ARCHITECTURE).is_err());
        assert!(check_platform("linux", "s390x").is_err());
    }
}
