//! The binary: reads the command line and calls what does the work. Every error ends as one line on standard error.

use std::process::ExitCode;

use clap::Parser;
use engine::cli::{self, Cli, ClientError, Command, ServeFlags};
use engine::config::{Config, ConfigError};
use engine::logs::{self, LogError};

/// Whatever ends a command, in its own words.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    /// For the commands whose other half is not built in.
    #[error("this build has no {part}, so `engine {command}` cannot run")]
    Missing { command: &'static str, part: &'static str },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(text) => {
            // A reader that went away (`engine status | head`) is no failure.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// The text is what the command prints on standard output at its end.
fn run(command: Command) -> Result<String, Failure> {
    match command {
        Command::Serve(flags) => serve(flags),
        Command::Load { name, client } => Ok(cli::load(&name, &client)?),
        Command::Status { json, client } => Ok(cli::status(json, &client)?),
        Command::Check { .. } => Err(Failure::Missing { command: "check", part: "loader" }),
        Command::Probe { .. } => Err(Failure::Missing { command: "probe", part: "loader" }),
    }
}

fn serve(flags: ServeFlags) -> Result<String, Failure> {
    let config = Config::load(flags.into())?;
    logs::start(config.log)?;
    Err(Failure::Missing { command: "serve", part: "rooms" })
}
