//! The binary `porthole`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    porthole::cli::main()
}
