//! The binary: reads the command line and calls what does the work. Every error ends as one line on standard error.

use std::fs::File;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use engine::cli::{
    self, CheckError, Cli, ClientError, Command, DevFlags, JournalCommand, JournalError, ReplayCommandError,
    ServeFlags, SnapshotCommandError,
};
use engine::config::{Config, ConfigError};
use engine::descriptors;
use engine::dev::{self, Dev, DevError};
use engine::engine::{Engine, EngineError};
use engine::journal::last_word;
use engine::loader::load;
use engine::loader::probe;
use engine::lock::{DataFolder, DataFolderError};
use engine::logs::{self, LogError, LogFormat};
use engine::metrics::Metrics;
use engine::new_game::{NewGameError, new_game};
use engine::rooms::Watched;
use engine::serve::{self, Door, ServeError};
use engine::stop::Stop;
use engine::watchdog::{Restart, Watchdog};
use tokio::runtime::Handle;

/// For what the runtime still does when everything has ended: nothing that is waited for.
const RUNTIME_END_MAX: Duration = Duration::from_secs(1);

/// Whatever ends a command, in its own words.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Check(#[from] CheckError),
    /// What would be refused has been asked for, and is the answer.
    #[error("{0}")]
    PlanRefused(String),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Replay(#[from] ReplayCommandError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotCommandError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Data(#[from] DataFolderError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Dev(#[from] DevError),
    #[error(transparent)]
    NewGame(#[from] NewGameError),
    #[error(transparent)]
    Engine(Box<EngineError>),
    #[error("the threads that answer cannot be started: {0}")]
    Runtime(std::io::Error),
    #[error("signals cannot be caught: {0}")]
    Signals(std::io::Error),
    #[error("a room did not end in time and was left behind")]
    RoomLeft,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        Failure::Engine(Box::new(error))
    }
}

fn main() -> ExitCode {
    // Before anything else: the child that tries a plugin has no threads, and no use for a command line.
    if let Some(request) = probe::child::asked() {
        request.run(|staged| Ok(load::summarize(staged)));
    }
    // Before there is a file that is written to, the log's among them.
    if let Err(error) = last_word::have_large_files_fail() {
        logs::tell(Failure::Signals(error));
        return ExitCode::FAILURE;
    }
    match run(Cli::parse().command) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(Failure::PlanRefused(text)) => {
            print(&text);
            ExitCode::FAILURE
        }
        Err(failure) => {
            if !matches!(failure, Failure::Replay(ReplayCommandError::Told)) {
                logs::tell(failure);
            }
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) {
    // A reader that went away (`engine status | head`) is no failure.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

/// The text is what the command prints on standard output at its end.
fn run(command: Command) -> Result<String, Failure> {
    match command {
        Command::Serve(flags) => serve(flags).map(|()| String::new()),
        Command::New { path, hotseat } => Ok(new_game(&path, hotseat.as_deref())?),
        Command::Dev(flags) => develop(flags).map(|()| String::new()),
        Command::Load { name, confirm, force, drop, client } => Ok(cli::load(&name, (confirm, force), &drop, &client)?),
        Command::Plan { old, new, drop, json, config } => {
            let cli::FilesPlan { text, is_refused } = cli::plan(&old, &new, &drop, json, config)?;
            if is_refused { Err(Failure::PlanRefused(text)) } else { Ok(text) }
        }
        Command::Confirm { client } => Ok(cli::confirm(&client)?),
        Command::Rollback { reason, client } => Ok(cli::roll_back(reason.as_deref(), &client)?),
        Command::Status { json, client } => Ok(cli::status(json, &client)?),
        Command::Rooms { command, json, client } => Ok(cli::rooms(command, json, &client)?),
        Command::Check { file, config } => Ok(cli::check(&file, config)?),
        Command::Journal { command, data, config } => Ok(match command {
            JournalCommand::List => cli::list_journals(data, config)?,
            JournalCommand::Tail { room, records } => cli::tail_journal(&room, records, data, config)?,
            JournalCommand::Check { room } => cli::check_journal(room.as_deref(), data, config)?,
        }),
        Command::Replay(flags) => Ok(cli::replay(flags)?),
        Command::Snapshot(flags) => Ok(cli::snapshot(flags)?),
    }
}

fn serve(flags: ServeFlags) -> Result<(), Failure> {
    let config = Config::load(flags.into())?;
    logs::start(config.log, logs::FILTER)?;
    // Given back at the very end, when nobody writes to it any more.
    let data = DataFolder::open(&config.data)?;
    serve_with(config, &data, None)
}

fn develop(flags: DevFlags) -> Result<(), Failure> {
    let config = Config::load((&flags).into())?;
    logs::start(if config.log == LogFormat::Auto { LogFormat::Human } else { config.log }, logs::FILTER_DEV)?;
    let data = DataFolder::open(&config.data)?;
    if flags.data.is_none() {
        dev::empty(&data).map_err(DevError::from)?;
    }
    let dev = Dev::new(flags.folder, &config)?;
    serve_with(config, &data, Some(dev))
}

fn serve_with(config: Config, data: &DataFolder, dev: Option<Dev>) -> Result<(), Failure> {
    descriptors::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)?;
    let served = runtime.block_on(serve_until_stopped(config, data, dev));
    // A plugin that never returns may hold a thread of it.
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    served
}

/// From here on nothing is said on standard output. A plugin that prints must not fail because the reader of it has gone: in a
/// constructor that would end the process.
fn silence_stdout() {
    match File::options().write(true).open("/dev/null") {
        Ok(nowhere) => {
            if let Err(error) = rustix::stdio::dup2_stdout(&nowhere) {
                tracing::warn!(%error, "standard output stays open to plugins");
            }
        }
        Err(error) => tracing::warn!(%error, "standard output stays open to plugins"),
    }
}

async fn serve_until_stopped(mut config: Config, data: &DataFolder, mut dev: Option<Dev>) -> Result<(), Failure> {
    let door = Door::open(&config, data).await?;
    let stop = door.stop();
    serve::end_on_signals(stop.clone())?;
    if let Some(dev) = &mut dev {
        let Some(first) = dev.first(&stop).await? else { return Ok(()) };
        config.logic = Some(first);
    }
    let metrics = Arc::new(Metrics::new());
    let requests = metrics.requests();
    // A dev engine's rooms are not worth it: the next save loads another version.
    let restart = dev.is_none().then(|| Restart::as_now(door.address()));
    let watched = Watched::new(config.room_threads);
    let watchdog = Watchdog::of(&config, &watched, &metrics, restart).map_err(Failure::Runtime)?;
    let engine = Arc::new(Engine::start(&config, data, &door, metrics, &watched)?);
    if let Err(error) = engine.take_over(&config).await
        && !dev.as_ref().is_some_and(|dev| dev.bears(&engine, &error))
    {
        stop.begin();
        engine.end().await;
        return Err(error.into());
    }
    let announced = door.announce()?;
    // Whoever started this may not be listening; then the address is in the data folder and in the log.
    let _unheard = writeln!(io::stdout(), "{announced}");
    silence_stdout();
    // On a thread of its own: it looks through folders and copies libraries, which players' connections must not wait for.
    let following = dev.map(|dev| {
        let (engine, runtime) = (Arc::clone(&engine), Handle::current());
        tokio::task::spawn_blocking(move || runtime.block_on(follow(dev, engine, stop)))
    });
    door.serve(Arc::clone(&engine), requests).await;
    let followed = match following {
        Some(following) => following.await.expect("following a crate does not panic"),
        None => Ok(()),
    };
    // Whatever hangs from here on is left behind in time.
    drop(watchdog);
    let ended = engine.end().await;
    drop(announced);
    if !ended {
        return Err(Failure::RoomLeft);
    }
    tracing::info!("stopped in order");
    Ok(followed?)
}

/// What cannot be followed any more is not served any more either: nobody would know why nothing changes.
async fn follow(dev: Dev, engine: Arc<Engine>, stop: Stop) -> Result<(), DevError> {
    let followed = dev.follow(&engine, &stop).await;
    stop.begin();
    followed
}
