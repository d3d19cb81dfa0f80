//! Every `unsafe` of Porthole, behind functions that are safe to call: descriptors come in
//! borrowed and go out owned, there is no policy here, and nothing of a container is read.
//!
//! What rustix has as a safe function is called where it is needed and not wrapped again. This
//! table of contents is all that it lacks:
//!
//! | Room | What is unsafe in it |
//! |---|---|
//! | [`process`] | clone3(2), fork(2), posix_spawn(3), execveat(2), `_exit`, close_range(2), the session keyring |
//! | [`signals`] | dispositions, masks, waiting for any signal, sending one by its number |
//! | [`namespace`] | unshare(2) of namespaces |
//! | [`memory`] | madvise(2): pages of our own program that are not needed any more |
//! | [`mount`] | mount_setattr(2): id-mapped mounts, attributes, propagation |
//! | [`memfd`] | nothing: a sealed copy of our own program |
//! | [`terminal`] | portable-pty, which hands out raw descriptors and reads the environment |
//! | [`probe`] | settimeofday(2) and syslog(2) that only ask whether one may |
//! | [`mqueue`] | what a POSIX message queue holds |
//! | [`nsfs`] | how namespaces are related, ioctl_ns(2); a network namespace's cookie, socket(7) |
//! | [`packet`] | peer credentials of local sockets |
//! | [`seccomp`] | seccomp(2) without no_new_privs; ptrace(2) to read another process's filters |
//! | [`passing`] | dup2(2) and close_range(2) before exec: descriptors for the next program |
pub mod memfd;
pub mod memory;
pub mod mount;
pub mod mqueue;
pub mod namespace;
pub mod nsfs;
pub mod packet;
pub mod passing;
pub mod probe;
pub mod process;
pub mod seccomp;
pub mod signals;
pub mod terminal;
