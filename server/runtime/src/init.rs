//! The role `init`: PID 1 of a container, which forks the command, forwards signals, reaps
//! whatever is left to it and exits as the command did.

use std::ffi::OsString;

/// Runs PID 1. `args` are the words after the role's name in the command line. It is started by
/// [`crate::launch`] only, from the sealed memfd.
pub fn init_main(_args: Vec<OsString>) -> ! {
    std::process::exit(125)
}
