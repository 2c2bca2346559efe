//! The binary: reads the command line, runs, tells how it goes and what came of it.

use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use swarm::script::{Script, Template};
use swarm::{Bar, Bars, Expect, Load, Options, Pace, Progress, Protocol, Stop, Swaps, Target};

/// How often a line of progress is written where lines cannot be rewritten.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Bytes of a script, a token or credentials.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The run could not be, or the command line is wrong.
const EXIT_NO_RUN: u8 = 2;
/// It was, and has missed a bar.
const EXIT_MISSED: u8 = 1;

/// Plays a Hotseat game with many players, and tells what was lost, doubled, overtaken, and how long everything took.
#[derive(Debug, Parser)]
#[command(
    name = "swarm",
    version,
    arg_required_else_help = true,
    after_help = "\
Examples:
  swarm --url ws://127.0.0.1:12345/ws --players 1000 --rate 10 --seconds 60 --swap-every 1 --fail-on-loss
  swarm --url tcp://127.0.0.1:12345 --players 50 --in-flight 1 --expect echo --json
  swarm --url ws://127.0.0.1:12345/ws --script moves.txt --hello 'text {\"nick\": \"bot{player}\"}'

Exit status: 0, all bars asked for were reached; 1, one was missed; 2, there was no run. docs/swarm.md says what each figure
means and how a script looks."
)]
struct Cli {
    /// Where the engine is: ws://HOST:PORT/ws or tcp://HOST:PORT.
    #[arg(long)]
    url: Target,
    /// Room to join [default: that of the URL, or the engine's main].
    #[arg(long, default_value = "", hide_default_value = true)]
    room: String,
    /// How many join.
    #[arg(long, default_value_t = 100)]
    players: u32,
    /// Messages a second of each player, sent whether or not earlier ones were answered; 0: none.
    #[arg(long, default_value_t = 10.0, conflicts_with = "in_flight", allow_negative_numbers = true)]
    rate: f64,
    /// Instead of a rate: so many messages of each player wait for an answer at any time.
    #[arg(long, value_name = "N")]
    in_flight: Option<u32>,
    /// How long messages are sent, once all have joined.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Joins per second.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 1000.0)]
    ramp_up: f64,
    /// File that says what is sent [default: a short text with two numbers].
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Bytes for the logic's `join`: `text …`, `hex …` or `base64 …`, with the placeholders of a script.
    #[arg(long, value_name = "PAYLOAD", default_value = "text swarm{player}")]
    hello: String,
    /// File with what the engine's `auth` asks for.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// What confirms a message.
    #[arg(long, value_enum, default_value_t = Confirmation::Consumed)]
    expect: Confirmation,
    /// The other side is a plain echo server, which knows of no players.
    #[arg(long, requires = "expect")]
    bare_echo: bool,
    /// Seconds between two pings of a player; 0: none.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    ping_every: f64,
    /// Come back by the resume token when a connection breaks, and send again what was not consumed.
    #[arg(long)]
    reconnect: bool,
    /// Seconds between two swaps.
    #[arg(long, value_name = "SECONDS")]
    swap_every: Option<f64>,
    /// Names of plugins that take turns, each with what may be lost by it: plugin2.so,plugin1.so?drop=Avatar.lives&drop=orbs
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "plugin1.so,plugin2.so")]
    swap_between: Vec<Load>,
    /// How long after its answer a swap still counts as going on.
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    swap_margin_ms: f64,
    /// File with the engine's admin token, for swaps on another machine.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// How long to wait at the end for what is not confirmed yet, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    drain: f64,
    /// Threads that the players are spread over.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// The same seed makes the same payloads.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Say nothing while it runs.
    #[arg(long)]
    quiet: bool,
    /// Fail if anything was lost, duplicated, out of order or failed, if anybody was refused or disconnected, or a swap refused.
    #[arg(long)]
    fail_on_loss: bool,
    /// Fail if the p99 of the round trips is above this.
    #[arg(long, value_name = "MS")]
    p99_max_ms: Option<f64>,
    /// Fail if the p99 of round trips that met a swap is above so many times that of the others.
    #[arg(long, value_name = "TIMES", requires = "swap_every")]
    swap_p99_max: Option<f64>,
    /// Fail if the players receive fewer frames a second, all together.
    #[arg(long, value_name = "PER_SECOND")]
    frames_min: Option<f64>,
    /// Fail if a player hears nothing for longer.
    #[arg(long, value_name = "MS")]
    silence_max_ms: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Confirmation {
    /// The engine's word in each frame's header: good for every game.
    Consumed,
    /// The same bytes back, from a logic that does that.
    Echo,
}

/// One line for whoever typed the command.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{} cannot be read: {source}", .file.display())]
    File { file: PathBuf, source: std::io::Error },
    #[error("{} has more than {FILE_BYTES_MAX} bytes", .0.display())]
    FileTooLong(PathBuf),
    #[error("{}, {error}", .file.display())]
    Script { file: PathBuf, error: swarm::script::ScriptError },
    #[error("--hello: {0}")]
    Hello(swarm::script::TemplateError),
    #[error("--{name} {found} is no time: give seconds from {min} up to a day")]
    Seconds { name: &'static str, found: f64, min: f64 },
    #[error(transparent)]
    Run(#[from] swarm::RunError),
    #[error("Ctrl-C cannot be waited for: {0}")]
    Signal(std::io::Error),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_MISSED),
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(EXIT_NO_RUN)
        }
    }
}

/// False if a bar was missed.
fn run(cli: &Cli) -> Result<bool, Failure> {
    let options = cli.options()?;
    let stop = Stop::default();
    stop_on_interrupt(stop.clone())?;
    let mut teller = Teller::new(cli.quiet);
    let report = swarm::run(&options, &stop, |progress| teller.tell(progress));
    teller.end();
    let mut report = report?;
    let reached = cli.bars().judge(&mut report);
    let text = if cli.json {
        serde_json::to_string_pretty(&report).expect("numbers and texts") + "\n"
    } else {
        report.to_string()
    };
    // A reader that went away (`swarm … | head`) is no failure.
    let _unread = std::io::stdout().write_all(text.as_bytes());
    Ok(reached)
}

impl Cli {
    fn options(&self) -> Result<Options, Failure> {
        let script = match &self.script {
            Some(file) => Script::parse(&read(file)?).map_err(|error| Failure::Script { file: file.clone(), error })?,
            None => Script::default(),
        };
        let pace = match self.in_flight {
            Some(count) => Pace::InFlight(count),
            None if self.rate == 0.0 => Pace::Idle,
            None => Pace::PerSecond(self.rate),
        };
        Ok(Options {
            protocol: if self.bare_echo { Protocol::BareEcho } else { Protocol::Hotseat },
            room: self.room.clone(),
            players: self.players,
            pace,
            duration: seconds("seconds", self.seconds, 0.001)?,
            joins_per_second: self.ramp_up,
            script,
            hello: Template::parse(&self.hello).map_err(Failure::Hello)?,
            credentials: self.credentials.as_deref().map(read_line).transpose()?.unwrap_or_default(),
            expect: match self.expect {
                Confirmation::Consumed => Expect::Consumed,
                Confirmation::Echo => Expect::Echo,
            },
            ping_every: (self.ping_every != 0.0).then(|| seconds("ping-every", self.ping_every, 0.001)).transpose()?,
            reconnect: self.reconnect,
            swaps: self.swap_every.map(|every| self.swaps(every)).transpose()?,
            drain_max: seconds("drain", self.drain, 0.0)?,
            threads: self.threads,
            seed: self.seed,
            ..Options::new(self.url.clone())
        })
    }

    fn swaps(&self, every: f64) -> Result<Swaps, Failure> {
        Ok(Swaps {
            every: seconds("swap-every", every, 0.001)?,
            between: self.swap_between.clone(),
            margin: seconds("swap-margin-ms", self.swap_margin_ms / 1e3, 0.0)?,
            token: self.token.as_deref().map(read_line).transpose()?,
        })
    }

    fn bars(&self) -> Bars {
        let mut bars = Vec::new();
        bars.extend(self.fail_on_loss.then_some(Bar::NoLoss));
        bars.extend(self.p99_max_ms.map(Bar::RttP99));
        bars.extend(self.swap_p99_max.map(Bar::SwapRatio));
        bars.extend(self.frames_min.map(Bar::Frames));
        bars.extend(self.silence_max_ms.map(Bar::Silence));
        Bars(bars)
    }
}

fn seconds(name: &'static str, found: f64, min: f64) -> Result<Duration, Failure> {
    const SECONDS_MAX: f64 = 86_400.0;
    if (min..=SECONDS_MAX).contains(&found) {
        Ok(Duration::from_secs_f64(found))
    } else {
        Err(Failure::Seconds { name, found, min })
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::File { file: file.to_owned(), source };
    if std::fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(Failure::FileTooLong(file.to_owned()));
    }
    std::fs::read_to_string(file).map_err(failed)
}

/// What an editor puts at the end of a file is no part of a secret.
fn read_line(file: &Path) -> Result<String, Failure> {
    Ok(read(file)?.trim_end_matches(['\r', '\n']).to_owned())
}

/// The first Ctrl-C ends the run, and the report tells of what was; the second ends the process.
fn stop_on_interrupt(stop: Stop) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Signal)?;
    let wait = move || {
        runtime.block_on(async {
            for interrupt in 0.. {
                if tokio::signal::ctrl_c().await.is_err() {
                    return;
                }
                if interrupt > 0 {
                    std::process::exit(i32::from(EXIT_NO_RUN));
                }
                stop.begin();
            }
        });
    };
    std::thread::Builder::new().name("interrupt".to_owned()).spawn(wait).map_err(Failure::Signal)?;
    Ok(())
}

/// Tells on standard error how it goes: on a terminal one line that is rewritten, elsewhere a line now and then.
struct Teller {
    quiet: bool,
    terminal: bool,
    told: Option<Instant>,
}

impl Teller {
    fn new(quiet: bool) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), told: None }
    }

    fn tell(&mut self, progress: &Progress) {
        if self.quiet {
            return;
        }
        if self.terminal {
            eprint!("\r{progress}\x1b[K");
        } else if self.told.is_none_or(|told| told.elapsed() >= LINE_EVERY) {
            eprintln!("{progress}");
        } else {
            return;
        }
        self.told = Some(Instant::now());
    }

    fn end(&self) {
        if self.terminal && self.told.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_line_of_the_readme_is_understood() {
        let line =
            "swarm --url ws://127.0.0.1:12345/ws --room main --players 1000 --rate 10 --seconds 60 --swap-every 1";
        let options = Cli::try_parse_from(line.split(' ')).unwrap().options().unwrap();
        assert_eq!((options.players, options.pace, options.duration.as_secs()), (1000, Pace::PerSecond(10.0), 60));
        let names = options.swaps.unwrap().between.into_iter().map(|load| load.name);
        assert!(names.eq(["plugin1.so", "plugin2.so"]));
    }
}
