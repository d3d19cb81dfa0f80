//! What the server asks of the keeper, and what the keeper answers.
//!
//! Over SOCK_SEQPACKET, one JSON message a datagram, at most [`MESSAGE_LIMIT`] bytes. Each request
//! carries a number that its reply repeats; replies may overtake one another. Descriptors travel
//! beside the message (SCM_RIGHTS, see unix(7)): how many is written at each message, and a
//! message with another number of them is refused.
//!
//! ```text
//! server                                         keeper
//!   | Hello ------------------------------------->  |
//!   | <------------------------------------- Hello  |
//!   | Watch ------------------------------------->  |
//!   | <-- Event Container… Session… Image… Synced   |  then one event a change, until it hangs up
//!   | Create / Start / OpenSession / Attach … --->  |
//!   | <------------------- Reply (+ descriptors)    |
//! ```

use serde::{Deserialize, Serialize};

use crate::container::{Change, Container, ContainerSpec, Image, ImageName, Owner};
use crate::id::{ContainerId, ImportId, SessionId};
use crate::image::{ImageBounds, Importing};
use crate::inspection::{Subject, What};
use crate::session::{FidelityLine, Session, SessionSpec, Target, Tried};
use crate::trace::Trace;

/// The version of this protocol. Keeper and server are built and shipped together.
pub const VERSION: u16 = 2;

/// The longest message in bytes; it fits a socket's default buffer (`net.core.wmem_default`).
pub const MESSAGE_LIMIT: usize = 128 * 1024;

/// A request with the number that its reply repeats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// Chosen by the server, unique among its open requests.
    pub id: u64,
    /// What is asked.
    pub request: Request,
}

/// What the server may ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Request {
    /// Who speaks; first message of a connection. Reply: `Hello`.
    Hello {
        /// [`VERSION`].
        version: u16,
    },
    /// Tell everything there is, then every change. Reply: `Done`, before the events.
    Watch,
    /// Make a container, without starting it. Reply: `Container`.
    Create {
        /// What it is to be.
        spec: Box<ContainerSpec>,
        /// Whose it is to be.
        owner: Owner,
    },
    /// Start a container. With two descriptors: its journal and the journal's index, both open for
    /// reading and writing. Reply: `Container`, once its program runs.
    Start {
        /// Which.
        container: ContainerId,
    },
    /// End a container's init by its stop signal, and by SIGKILL after the timeout. Its restart
    /// policy is in force no longer. Reply: `Container`, once it has ended.
    Stop {
        /// Which.
        container: ContainerId,
        /// How long the signal has, in milliseconds.
        timeout_ms: u64,
    },
    /// Stop a container where it runs, and start it. With two descriptors, as `Start`. Reply:
    /// `Container`, once its program runs.
    Restart {
        /// Which.
        container: ContainerId,
        /// As for `Stop`.
        timeout_ms: u64,
    },
    /// Freeze every process of a container. Reply: `Container`, once they stand still.
    Pause {
        /// Which.
        container: ContainerId,
    },
    /// Let them go on. Reply: `Container`.
    Unpause {
        /// Which.
        container: ContainerId,
    },
    /// Give a container another name, other limits or another restart policy. Reply: `Container`.
    Change {
        /// Which.
        container: ContainerId,
        /// What.
        change: Change,
    },
    /// Send a container's init a signal. Reply: `Container`.
    Kill {
        /// Which.
        container: ContainerId,
        /// 1 to 64.
        signal: u8,
    },
    /// Remove a container with everything of it. Reply: `Done`.
    Remove {
        /// Which.
        container: ContainerId,
        /// Kill it first where it runs.
        force: bool,
    },
    /// Run something in a container. With two descriptors, as `Start`. Reply: `Session`, once its
    /// program runs.
    OpenSession {
        /// The session's identifier; it is new.
        session: SessionId,
        /// What to run.
        spec: Box<SessionSpec>,
        /// Who asked.
        owner: Owner,
    },
    /// Become the reader of a target's output. Reply: `Attached` with one descriptor, a connected
    /// SOCK_SEQPACKET socket on which [`crate::monitor`] is spoken. Whoever read until now is cut
    /// off first.
    Attach {
        /// Whose output.
        target: Target,
    },
    /// End every process of a session. Reply: `Session`, once its first process has ended.
    EndSession {
        /// Which.
        session: SessionId,
    },
    /// An ended session's record is no longer needed. Reply: `Done`.
    ForgetSession {
        /// Which.
        session: SessionId,
    },
    /// The calls that made a container or a session. Reply: `Trace`.
    Trace {
        /// Whose.
        target: Target,
    },
    /// What the host looks like, live. Reply: `Observing` with one descriptor, a SOCK_STREAM
    /// socket on which [`crate::observation`] is spoken.
    Observe,
    /// What has to be read inside a process's namespaces. Reply: `Inspecting` with one descriptor,
    /// the read end of a pipe with one [`crate::inspection::Document`]; `Exhausted` where too many
    /// are under way.
    Inspect {
        /// Of what.
        subject: Subject,
        /// What of it.
        what: What,
    },
    /// Make an image of an archive. With one descriptor: the archive, a regular file of the
    /// server's own, open for reading. Reply: `Image`, once it is there.
    ImportImage {
        /// What the import is called; no other one's that goes on.
        id: ImportId,
        /// What it is to be called; where nothing is given, as the archive calls it.
        name: Option<ImageName>,
        /// Who asked.
        owner: Owner,
    },
    /// End an import that goes on: it is answered `Cancelled`, and leaves nothing. Reply: `Done`.
    CancelImport {
        /// Which.
        id: ImportId,
    },
    /// Give an imported image another name beside those that it has. Reply: `Image`.
    TagImage {
        /// Which, by a name or by its digest.
        image: ImageName,
        /// The new name. Another image that has it loses it.
        name: ImageName,
    },
    /// Take an imported image's name away, and the image itself with its last name; all of them
    /// where it is meant by its digest. Refused while containers are made of it. Reply:
    /// `ImagesGone`.
    RemoveImage {
        /// Which, by a name or by its digest.
        image: ImageName,
    },
    /// Remove imported images that no container is made of. Reply: `ImagesGone`.
    PruneImages {
        /// Those that have names too.
        all: bool,
    },
}

/// What the keeper sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromKeeper {
    /// The answer to a request.
    Reply {
        /// The request's number.
        id: u64,
        /// The answer.
        reply: Box<Reply>,
    },
    /// Something is, or has changed. After `Watch` only.
    Event(Box<Event>),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To `Hello`.
    Hello(Hello),
    /// It is done.
    Done,
    /// The container as it is now.
    Container(Box<Container>),
    /// The session as it is now.
    Session(Box<Session>),
    /// With one descriptor.
    Attached,
    /// With one descriptor.
    Observing,
    /// With one descriptor.
    Inspecting,
    /// Calls.
    Trace(Trace),
    /// The image as it is now.
    Image(Box<Image>),
    /// Names that are gone, with their images or without.
    ImagesGone {
        /// Which; an image without a name by its digest.
        names: Vec<ImageName>,
        /// Bytes on the disk that nothing needs any more.
        freed: u64,
    },
    /// It was not done.
    Failed(Failure),
}

/// Who the keeper is and what it allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u16,
    /// The keeper's own process on the host.
    pub pid: i32,
    /// What root's policy file allows.
    pub policy: Policy,
    /// What this machine lacks, each in a sentence that says what to do.
    pub lacking: Vec<String>,
}

/// What root allows the server to ask for: `/etc/porthole/policy.toml`. Nothing unless enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Containers may use namespaces of the host (`"host"`).
    pub host_namespaces: bool,
    /// Sessions may be opened in containers that Porthole did not make.
    pub join_foreign: bool,
    /// Also in those that hold hardly anything back: the machine's own processes or files, or the
    /// machine's users with more than Docker's default capabilities, without a system call filter, or
    /// with a writable `/proc/sys` or `/sys`.
    /// That is as much as being root of the machine.
    pub join_privileged: bool,
    /// Containers can be connected to a bridge, and are unless asked otherwise.
    pub bridge: bool,
    /// Their ports may be published anywhere, and not on loopback alone.
    pub publish_anywhere: bool,
    /// What is taken of an archive that becomes an image.
    pub images: ImageBounds,
}

/// What is so now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A container is or has become this.
    Container(Box<Container>),
    /// A container was removed.
    ContainerGone(ContainerId),
    /// A session is or has become this.
    Session(Box<Session>),
    /// A session was forgotten.
    SessionGone(SessionId),
    /// An image is or has become this.
    Image(Box<Image>),
    /// There is no image of this name any more.
    ImageGone(ImageName),
    /// How far an import has come.
    Importing(Importing),
    /// Everything that was there when `Watch` was asked has been told.
    Synced,
}

/// What kind of failure it was. Each has one HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The message is none of this protocol. 400
    BadRequest,
    /// The policy does not allow it. 403
    Forbidden,
    /// No such container. 404
    ContainerNotFound,
    /// No such session. 404
    SessionNotFound,
    /// No such process, or its number is another's by now. 404
    ProcessNotFound,
    /// No such namespace, or it is one of another type. 404
    NamespaceNotFound,
    /// No such image. 422
    ImageNotFound,
    /// No such import goes on. 404
    ImportNotFound,
    /// Somebody has ended it before it was done. 409
    Cancelled,
    /// Another container has this name. 409
    NameInUse,
    /// Not while the container is in this state. 409
    WrongState,
    /// A field's value cannot be used. 422
    Invalid,
    /// The session would be less confined than its container's init; [`Failure::fidelity`] says in
    /// what, and the same may be asked again with that accepted. 409
    LessConfined,
    /// The command cannot be executed. 422, exit code 126
    NotExecutable,
    /// The command was not found. 422, exit code 127
    CommandNotFound,
    /// A limit is reached: ids, terminals, processes. 429
    Exhausted,
    /// The machine lacks what it needs. 422
    Unsupported,
    /// What was to be read does not answer. 504
    Late,
    /// No space is left, or a file system is read-only. 507
    Storage,
    /// A step failed that ought not to. 500
    Internal,
}

/// How far creating or joining had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Stage {
    Request,
    Image,
    Ids,
    Cgroup,
    Monitor,
    Clone,
    IdMap,
    Network,
    Mounts,
    Identity,
    Join,
    Terminal,
    Confine,
    Exec,
    Cleanup,
}

/// Why something was not done. Whatever had been made for it is gone again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind it was.
    pub code: FailureCode,
    /// What happened, why, and what to try, in words.
    pub message: String,
    /// The field of the request that it is about.
    #[serde(default)]
    pub field: Option<String>,
    /// How far it had come.
    #[serde(default)]
    pub stage: Option<Stage>,
    /// What the kernel answered.
    #[serde(default)]
    pub errno: Option<i32>,
    /// Shells that were looked for.
    #[serde(default)]
    pub tried: Box<[Tried]>,
    /// How the session would compare with its container's init.
    #[serde(default)]
    pub fidelity: Box<[FidelityLine]>,
    /// What could not be cleaned up, and stays for the next start to clean.
    #[serde(default)]
    pub cleanup: Option<String>,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            stage: None,
            errno: None,
            tried: Box::default(),
            fidelity: Box::default(),
            cleanup: None,
        }
    }

    /// The same, about this field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same, at this stage.
    #[must_use]
    pub fn stage(mut self, stage: Stage) -> Self {
        self.stage = Some(stage);
        self
    }

    /// The same, with what the kernel answered.
    #[must_use]
    pub fn errno(mut self, errno: i32) -> Self {
        self.errno = Some(errno);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_refuses_what_it_does_not_know() {
        let text = r#"{"id":1,"request":{"kill":{"container":"../x","signal":9}}}"#;
        assert!(
            serde_json::from_str::<Envelope>(text).is_err(),
            "an id that is a path"
        );
        let id = "0".repeat(64);
        let text = format!(r#"{{"id":1,"request":{{"kill":{{"container":"{id}","signal":9}}}}}}"#);
        assert!(serde_json::from_str::<Envelope>(&text).is_ok());
        let text =
            format!(r#"{{"id":1,"request":{{"kill":{{"container":"{id}","signal":9,"pid":1}}}}}}"#);
        assert!(
            serde_json::from_str::<Envelope>(&text).is_err(),
            "a field too many"
        );
    }
}
