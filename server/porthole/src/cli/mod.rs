//! The command line.

mod admin;
mod audit;
mod engines;
mod serve;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::server::listen::Listeners;
use crate::server::{self, log};
use crate::settings::Given;

/// See into every container on a Linux host, and step inside from the browser.
#[derive(Parser)]
#[command(name = "porthole", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start Porthole (as root)
    Serve(Box<Given>),
    /// The part of `serve` that speaks HTTP; `serve` starts it
    #[command(hide = true)]
    Server,
    /// The part of `serve` that talks to Docker and Podman; `serve` starts it
    #[command(hide = true)]
    Engines,
    /// What only who operates Porthole does, on the machine itself
    Admin {
        #[command(subcommand)]
        command: Admin,
    },
    /// Print what completes this program's words in a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Manual {
        /// The directory
        directory: std::path::PathBuf,
    },
    /// The audit trail, on the machine itself
    Audit {
        #[command(subcommand)]
        command: Audit,
    },
    /// Print the version
    Version,
}

#[derive(Subcommand)]
enum Audit {
    /// Follow the whole trail; exits with 1 and names the first entry that is not as it was written
    Verify {
        /// An export of everything instead of the database (`-`: standard input)
        #[arg(value_name = "FILE")]
        export: Option<std::path::PathBuf>,
        /// A log of the server: every entry that it names must be in the trail (`-`: standard input)
        #[arg(long, value_name = "FILE")]
        against: Option<std::path::PathBuf>,
        /// Where Porthole's state is [default: PORTHOLE_ROOT or /var/lib/porthole]
        #[arg(long, value_name = "DIRECTORY")]
        root: Option<std::path::PathBuf>,
    },
}

#[derive(Subcommand)]
enum Admin {
    /// Give an account a new password, print it, and sign the account out everywhere
    ResetPassword {
        /// The account
        name: String,
        /// Read the new password from standard input instead of making one up
        #[arg(long)]
        password_stdin: bool,
        /// Where Porthole's state is [default: PORTHOLE_ROOT or /var/lib/porthole]
        #[arg(long, value_name = "DIRECTORY")]
        root: Option<std::path::PathBuf>,
    },
}

/// Runs the program: parses the command line, does it, says in words what went wrong.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(flags) => serve::run(*flags),
        Command::Server => run_server(),
        Command::Engines => {
            log::begin();
            engines::run()
        }
        Command::Admin {
            command:
                Admin::ResetPassword {
                    name,
                    password_stdin,
                    root,
                },
        } => admin::reset_password(&name, password_stdin, root),
        Command::Completion { shell } => {
            let mut out = std::io::stdout();
            clap_complete::generate(shell, &mut Cli::command(), "porthole", &mut out);
            Ok(())
        }
        Command::Manual { directory } => clap_mangen::generate_to(Cli::command(), &directory)
            .map_err(|error| anyhow::anyhow!("writing into {}: {error}", directory.display())),
        Command::Audit {
            command:
                Audit::Verify {
                    export,
                    against,
                    root,
                },
        } => audit::verify(export.as_deref(), against.as_deref(), root),
        Command::Version => {
            println!("porthole {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("porthole: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_server() -> anyhow::Result<()> {
    log::begin();
    // `serve` has resolved everything and handed it on; the file is root's and may be unreadable.
    let mut settings = Given::from_env(|name| std::env::var(name).ok())?.resolve()?;
    settings.engines = engines::setting()?;
    server::run(settings, Listeners::inherited()?)
}
