//! The joiner's way into a container of another engine.
//!
//! As into Porthole's own, but for two things: what confines it is read from the container's init
//! and not known, and init may have another root directory than its mount namespace has.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

use porthole_protocol::container::{NameOrId, UserSpec};
use porthole_protocol::keeper::{Failure, FailureCode, Stage};
use porthole_protocol::namespace::NamespaceType;
use porthole_sys::packet::Packet;
use porthole_sys::process::Forked;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::setrlimit;

use super::{Errand, Started, choose, enter, launch, open_output, open_root};
use crate::account::{self, Account};
use crate::confinement::foreign as confinement;
use crate::environment::Environment;
use crate::filesystem::is_terminals;
use crate::filesystem::toolbox::{self, Toolbox};
use crate::foreign::danger::Guard;
use crate::foreign::limits;
use crate::foreign::manner::Manner;
use crate::layers::Overlays;
use crate::passage;
use crate::recorder::Recorder;
use crate::step::{Step, StepError};

/// What a joiner takes along.
#[derive(Debug)]
pub(crate) struct Abroad {
    pub(crate) manner: Manner,
    /// Init's root directory, opened on the machine's side.
    pub(crate) root: OwnedFd,
    /// What may not be found in it.
    pub(crate) guard: Option<Guard>,
    /// The root directory of a toolbox.
    pub(crate) overlays: Option<Overlays>,
}

impl Abroad {
    /// Whether the session's root directory is a toolbox.
    pub(crate) fn has_own_files(&self) -> bool {
        self.overlays.is_some()
    }
}

pub(super) fn start(
    errand: &Errand<'_>,
    abroad: &Abroad,
    forked: &Forked,
    channel: &Packet,
    trace: &mut Recorder,
) -> Result<Started, Failure> {
    let spec = errand.visit.place.spec;
    let manner = &abroad.manner;
    let mut kept = vec![channel.as_fd(), errand.target.as_fd(), abroad.root.as_fd()];
    if let Some(overlays) = &abroad.overlays {
        kept.push(overlays.root.as_fd());
        kept.extend(overlays.usr.as_ref().map(AsFd::as_fd));
    }
    match &abroad.guard {
        None => passage::leave_the_machine(errand.entrance, &kept, forked, trace)?,
        Some(guard) => {
            let more: Vec<_> = kept.iter().copied().chain([guard.open()]).collect();
            passage::leave_the_machine(errand.entrance, &more, forked, trace)?;
            guard.in_groups(trace)?;
            trace.step(Step::CloseInherited, "close(disks)", || {
                forked.close_all_but(&kept)
            })?;
        }
    }
    passage::clear_groups(trace)?;
    let mut label = limit(manner, trace)?;
    let files = reach(errand, abroad, forked, trace)?;
    let account = account(&files, errand, manner)?;
    let output = open_output(errand, &account, channel, trace).map_err(without_terminals)?;
    let environment = Environment::foreign(
        &account,
        spec.tty,
        &manner.environment,
        manner.configured,
        &spec.env,
    );
    confinement::begin(&account, manner, trace)?;
    let root = open_root(trace)?;
    enter_workdir(&root, errand, manner, trace)?;
    let choice = choose(errand, &account, &environment)?;
    if let (Some(file), Some(text)) = (&mut label, &manner.label) {
        trace.step(
            Step::SetLabel,
            format!("write(\"/proc/self/attr/exec\", {text:?})"),
            || set_label(file, text),
        )?;
    }
    confinement::finish(&account, manner, trace)?;
    launch(output, choice, &account, &environment, forked, trace)
}

/// Says what is missing where a container has no terminals at all, as one of LXC's without
/// `lxc.pty.max`. The machine's own terminals are none for it: what is opened is the container's.
fn without_terminals(failure: Failure) -> Failure {
    let about_terminals = failure.stage == Some(Stage::Terminal);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let there = open("/dev/pts", flags, Mode::empty());
    if !about_terminals || there.is_ok_and(|there| is_terminals(&there)) {
        return failure;
    }
    let message = "the container has no terminals: no devpts is mounted at its /dev/pts. Open a \
         session without a terminal and with a command, or start the container with some; LXC \
         mounts a devpts where the configuration says lxc.pty.max = 64, say";
    let mut told = Failure::new(FailureCode::Unsupported, message)
        .field("tty")
        .stage(Stage::Terminal);
    told.errno = failure.errno;
    told
}

/// What only the machine's superuser may do, and what needs the machine's procfs. Answers the file
/// by which the label of the next program is set.
fn limit(manner: &Manner, trace: &mut Recorder) -> Result<Option<File>, StepError> {
    for limit in &manner.limits {
        trace.step(
            (Step::LimitResources, limit.name),
            format!("setrlimit({})", limits::words(limit)),
            || setrlimit(limit.resource, limit.value),
        )?;
    }
    let score = manner.oom_score_adj;
    trace.step(
        (Step::LimitResources, "oom_score_adj"),
        format!("write(\"/proc/self/oom_score_adj\", \"{score}\")"),
        || std::fs::write("/proc/self/oom_score_adj", score.to_string()),
    )?;
    match &manner.label {
        None => Ok(None),
        Some(_) => trace
            .step(Step::SetLabel, "open(\"/proc/self/attr/exec\")", || {
                File::options()
                    .write(true)
                    .open("/proc/self/attr/exec")
                    .map(OwnedFd::from)
            })
            .map(|fd| Some(File::from(fd))),
    }
}

/// AppArmor takes `exec NAME`, without the mode that it adds in reading; SELinux the label alone.
fn set_label(file: &mut File, label: &str) -> std::io::Result<()> {
    let selinux = label.matches(':').count() >= 2;
    let text = if selinux {
        label.to_owned()
    } else {
        let name = label.rsplit_once(" (").map_or(label, |(name, _)| name);
        format!("exec {name}")
    };
    file.write_all(text.as_bytes())
}

/// Enters the container's namespaces, or a toolbox in most of them. Answers the root directory of
/// the files in which its accounts are.
fn reach(
    errand: &Errand<'_>,
    abroad: &Abroad,
    forked: &Forked,
    trace: &mut Recorder,
) -> Result<OwnedFd, Failure> {
    if let Some(overlays) = &abroad.overlays {
        let (last, kinds): (Vec<_>, Vec<_>) = errand
            .kinds
            .iter()
            .copied()
            .filter(|kind| *kind != NamespaceType::Mnt)
            .partition(|kind| *kind == NamespaceType::User);
        let toolbox = Toolbox {
            target: errand.target,
            root: &abroad.root,
            kinds: &kinds,
        };
        let files = toolbox::enter(&toolbox, overlays, forked, trace)?;
        enter(errand.target, &last, trace)?;
        return Ok(files);
    }
    enter(errand.target, &errand.kinds, trace)?;
    if errand.visit.place.has_files() {
        if let Some(guard) = &abroad.guard {
            guard.in_mounts()?;
        }
        trace.step(Step::EnterRoot, "fchdir(init's root)", || {
            rustix::process::fchdir(&abroad.root)
        })?;
        trace.step(Step::EnterRoot, "chroot(\".\")", || {
            rustix::process::chroot(".")
        })?;
    }
    let root = open_root(trace)?;
    if errand.visit.place.has_files()
        && let Some(guard) = &abroad.guard
    {
        guard.in_files(&root)?;
    }
    Ok(root)
}

/// The user who was asked for, in the container's own files; init's where nobody was.
fn account(files: &OwnedFd, errand: &Errand<'_>, manner: &Manner) -> Result<Account, Failure> {
    if let (None, Some((uid, gid, groups))) = (&errand.visit.place.spec.user, &manner.user) {
        let user = UserSpec {
            user: NameOrId::Id(*uid),
            group: Some(NameOrId::Id(*gid)),
        };
        let mut account = account::look_up(files, Some(&user))?;
        account.groups.clone_from(groups);
        return Ok(account);
    }
    let mut account = account::look_up(files, errand.visit.place.spec.user.as_ref())?;
    if manner.own_group_too && !account.groups.contains(&account.gid) {
        account.groups.push(account.gid);
        account.groups.sort_unstable();
    }
    Ok(account)
}

/// A directory that was asked for must be there. Where init happens to be need not: it may have
/// been deleted, or lie where this user may not go.
fn enter_workdir(
    root: &OwnedFd,
    errand: &Errand<'_>,
    manner: &Manner,
    trace: &mut Recorder,
) -> Result<(), Failure> {
    match passage::enter_workdir(root, manner.workdir.as_deref(), trace) {
        Err(_) if manner.toolbox => passage::enter_workdir(root, Some(toolbox::TARGET), trace),
        Err(_) if errand.visit.place.spec.workdir.is_none() => {
            passage::enter_workdir(root, None, trace)
        }
        entered => entered,
    }
}
