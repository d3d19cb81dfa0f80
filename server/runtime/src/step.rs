//! One system call, one step: what was being done when the kernel said no.

use std::fmt;
use std::io;

use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use rustix::io::Errno;

macro_rules! steps {
    ($($name:ident, $stage:ident, $words:literal;)*) => {
        /// A step of creating, starting, joining or removing a container.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Step {
            $(#[doc = $words] $name,)*
        }

        impl Step {
            /// How far things had come when it was made.
            pub const fn stage(self) -> Stage {
                match self { $(Self::$name => Stage::$stage,)* }
            }

            /// What it does, in words that a path may follow.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)* }
            }
        }
    };
}

steps! {
    ReadSkeletonSource, Image, "reading the machine's file";
    MakeSkeleton, Image, "making the image's file";
    ListApplets, Image, "asking busybox for its applets";
    MakeLayer, Image, "making the container's layer";
    GiveLayer, Image, "giving the container's layer to its first id";
    UnpackDirectory, Image, "making the directory";
    UnpackReplace, Image, "taking the place of";
    UnpackFile, Image, "writing the file";
    UnpackOwner, Image, "giving to its owner";
    UnpackAttribute, Image, "setting an extended attribute of";
    UnpackLink, Image, "making the link";
    UnpackWhiteout, Image, "hiding what is below";
    StoreLayer, Image, "storing the layer";
    ReadIds, Ids, "reading which ids are in use";
    Random, Ids, "asking for random bytes";
    FindCgroups, Cgroup, "looking for control groups";
    MakeCgroup, Cgroup, "making the control group";
    SetLimit, Cgroup, "setting the limit";
    OpenCgroup, Cgroup, "opening the control group";
    JoinCgroup, Cgroup, "joining the control group";
    FreezeCgroup, Cgroup, "freezing the control group";
    ThawCgroup, Cgroup, "thawing the control group";
    KillCgroup, Cgroup, "killing the control group";
    ReadCgroup, Cgroup, "reading the control group";
    RemoveCgroup, Cleanup, "removing the control group";
    MakeChannel, Monitor, "making a channel";
    CountThreads, Monitor, "counting this process's threads";
    KeepMounts, Monitor, "opening this process's mount namespace";
    EnterShared, Clone, "entering another container's namespace";
    UnshareTime, Clone, "making a time namespace";
    SetClocks, Clone, "setting the time namespace's clocks";
    Clone, Clone, "making the process";
    CloseInherited, Clone, "closing inherited descriptors";
    NewKeyring, Confine, "making a session keyring";
    MapUsers, IdMap, "mapping user ids";
    MapGroups, IdMap, "mapping group ids";
    OpenUserNamespace, IdMap, "opening the container's user namespace";
    BecomeRoot, IdMap, "becoming the container's root";
    UnshareCgroup, Cgroup, "making a control group namespace";
    SetHostname, Network, "setting the host name";
    RaiseLoopback, Network, "setting the loopback interface up";
    WriteNames, Network, "writing what names are looked up by";
    MakePort, Network, "making the pair of interfaces";
    JoinBridge, Network, "joining the bridge";
    SetAddresses, Network, "setting the container's addresses and routes";
    UnshareMounts, Mounts, "making a mount namespace";
    Propagation, Mounts, "ending the propagation of mounts";
    OpenLayer, Mounts, "opening the layer";
    CloneLayer, Mounts, "cloning the layer";
    MapLayer, Mounts, "mapping the layer's ids";
    AttachLayer, Mounts, "attaching the layer";
    OpenOverlay, Mounts, "opening an overlay";
    ConfigureOverlay, Mounts, "configuring the overlay";
    MountOverlay, Mounts, "mounting the overlay";
    MountFilesystem, Mounts, "mounting the file system";
    CheckFilesystem, Mounts, "checking what kind of file system this is";
    OpenHostNode, Mounts, "opening the machine's device";
    CheckDevice, Mounts, "checking what device this is";
    CloneMount, Mounts, "cloning the mount";
    SetMountAttributes, Mounts, "setting the attributes of the mount";
    OpenMountPoint, Mounts, "opening the mount point";
    MakeMountPoint, Mounts, "making the mount point";
    AttachMount, Mounts, "attaching the mount";
    MakeLink, Mounts, "making the link";
    EnterRoot, Mounts, "entering the root directory";
    PivotRoot, Mounts, "pivoting the root directory";
    DetachHost, Mounts, "detaching the machine's root directory";
    OpenProcess, Identity, "opening the container's init";
    ReadProcess, Identity, "reading about the container's init";
    FindDisks, Identity, "finding the machine's disks";
    ReadNamespaces, Identity, "reading the process's namespaces";
    ProbeProcess, Identity, "probing whether the container's init is still there";
    BeSubreaper, Join, "becoming a subreaper";
    NotDumpable, Join, "becoming not dumpable";
    ClearGroups, Join, "giving up supplementary groups";
    SetNamespaces, Join, "entering the container's namespaces";
    OpenRoot, Join, "opening the container's root directory";
    OpenTerminal, Terminal, "opening a terminal";
    CheckTerminal, Terminal, "checking that this is a terminal of the container";
    OwnTerminal, Terminal, "giving the terminal to the user";
    ControlTerminal, Terminal, "taking control of the terminal";
    ResizeTerminal, Terminal, "setting the terminal's size";
    MakePipe, Terminal, "making a pipe";
    Redirect, Terminal, "redirecting standard descriptors";
    HandOver, Terminal, "handing descriptors to the monitor";
    LimitResources, Confine, "limiting resources";
    DropBounding, Confine, "dropping a capability from the bounding set";
    ClearAmbient, Confine, "clearing the ambient set";
    SetGroups, Confine, "setting supplementary groups";
    SetGroup, Confine, "setting the group";
    SetUser, Confine, "setting the user";
    SetCapabilities, Confine, "setting capabilities";
    NoNewPrivileges, Confine, "giving up new privileges";
    SetLabel, Confine, "setting the label of the next program";
    LoadFilter, Confine, "loading the system call filter";
    OpenWorkdir, Exec, "opening the working directory";
    MakeWorkdir, Exec, "making the working directory";
    EnterWorkdir, Exec, "entering the working directory";
    NewSession, Exec, "making a session of processes";
    Execute, Exec, "executing";
    Wait, Exec, "waiting for the process";
    RemoveLayer, Cleanup, "deleting the container's layer";
}

/// Where a step was made: the step itself, or with the path that it was about.
#[derive(Debug, Clone)]
pub struct Place {
    step: Step,
    path: Option<String>,
}

impl From<Step> for Place {
    fn from(step: Step) -> Self {
        Self { step, path: None }
    }
}

impl<P: fmt::Display> From<(Step, P)> for Place {
    fn from((step, path): (Step, P)) -> Self {
        Self {
            step,
            path: Some(path.to_string()),
        }
    }
}

/// A step that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepError {
    /// Which.
    pub step: Step,
    /// What the kernel answered.
    pub errno: i32,
    /// What it was about.
    pub path: Option<String>,
}

impl StepError {
    /// This step was refused with this answer.
    pub fn new(place: impl Into<Place>, errno: impl Into<Number>) -> Self {
        let Place { step, path } = place.into();
        Self {
            step,
            errno: errno.into().0,
            path,
        }
    }

    /// Whether what a container has at `/dev/ptmx` opened no terminal.
    fn is_about_ptmx(&self) -> bool {
        let opens = matches!(self.step, Step::OpenTerminal | Step::CheckTerminal);
        opens && self.path.as_deref() == Some("/dev/ptmx")
    }

    /// Whether the kernel's answer was this one.
    pub fn is(&self, errno: Errno) -> bool {
        self.errno == errno.raw_os_error()
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.step.words())?;
        if let Some(path) = &self.path {
            write!(f, " {path}")?;
        }
        write!(f, ": {}", io::Error::from_raw_os_error(self.errno))
    }
}

impl std::error::Error for StepError {}

/// An errno out of either kind of error.
#[derive(Debug, Clone, Copy)]
pub struct Number(pub i32);

impl From<Errno> for Number {
    fn from(errno: Errno) -> Self {
        Self(errno.raw_os_error())
    }
}

impl From<io::Error> for Number {
    fn from(error: io::Error) -> Self {
        // Errors without an errno are made here and in std only, about what was read.
        Self(error.raw_os_error().unwrap_or(libc_einval()))
    }
}

fn libc_einval() -> i32 {
    Errno::INVAL.raw_os_error()
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        let errno = Errno::from_raw_os_error(error.errno);
        let stage = error.step.stage();
        let code = match (errno, stage) {
            (Errno::NOSPC | Errno::DQUOT | Errno::ROFS, Stage::Terminal) => FailureCode::Exhausted,
            (Errno::NOSPC | Errno::DQUOT | Errno::ROFS, _) => FailureCode::Storage,
            (Errno::AGAIN | Errno::MFILE | Errno::NFILE, _) => FailureCode::Exhausted,
            (Errno::NOSYS | Errno::OPNOTSUPP | Errno::NODEV, _) => FailureCode::Unsupported,
            _ if error.is_about_ptmx() => FailureCode::Unsupported,
            _ => FailureCode::Internal,
        };
        let advice = match (errno, stage) {
            (Errno::NOSPC, Stage::Clone) => {
                "; the kernel allows no more namespaces (sysctl user.max_*_namespaces)"
            }
            (Errno::NOSPC, Stage::Terminal) => {
                "; all of the container's terminals are in use: end a session"
            }
            _ if error.is_about_ptmx() => {
                "; the container has put something else there: start it again, or open a session without a terminal"
            }
            (Errno::NOSPC | Errno::DQUOT, _) => "; free some space",
            (Errno::AGAIN, Stage::Clone | Stage::Exec) => "; the limit of processes is reached",
            _ => "",
        };
        Failure::new(code, format!("{error}{advice}"))
            .stage(stage)
            .errno(error.errno)
    }
}
