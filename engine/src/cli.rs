//! The command line, and the commands that are clients of a running engine. What the others do is wired in `main.rs`.

mod check;
mod client;
mod dump;
mod folder;
mod journal;
mod plan;
mod replay;
mod rooms;
mod snapshot;
mod table;
mod watched;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use check::{CheckError, check};
pub use client::{ClientError, confirm, load, roll_back, status};
pub use folder::FolderError;
pub use journal::{JournalError, TAIL_RECORDS, check as check_journal, list as list_journals, tail as tail_journal};
pub use plan::{FilesPlan, plan};
pub use replay::{ReplayCommandError, ReplayFlags, replay};
pub use rooms::{RoomsCommand, rooms};
pub use snapshot::{SnapshotCommandError, SnapshotFlags, snapshot};

use crate::config::{Flags, PROBATION};
use crate::dev;
use crate::logs::LogFormat;

/// A stateful game server whose rules are swapped while they play.
#[derive(Debug, Parser)]
#[command(name = "engine", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the rooms until SIGTERM or Ctrl-C.
    #[command(after_help = "\
Examples:
  engine serve
  engine serve --listen 127.0.0.1:0 --logic plugin2.so
  engine serve --config my.toml --data /var/lib/hotseat --log json

Flags win over the config file. engine.toml is read from the current folder if it is there; engine.example.toml shows
every key.")]
    Serve(ServeFlags),
    /// Make a game crate of one's own: it builds, is tested, and runs under `engine dev` at once.
    #[command(after_help = "\
Examples:
  engine new snake-pit && cd snake-pit && engine dev
  engine new games/duel --hotseat https://example.org/hotseat.git")]
    New {
        /// Folder to make; its last part is the game's name.
        path: PathBuf,
        /// Where Hotseat's crates come from: the folder of a checkout, or a git URL [default: the checkout around the current
        /// folder, or the one that this engine was built from].
        #[arg(long, value_name = "DIR|URL")]
        hotseat: Option<String>,
    },
    /// Watch the crate of a logic: build and load it at each change, while an engine of its own serves.
    #[command(after_help = "\
Examples:
  engine dev
  engine dev my-game --listen 127.0.0.1:0

A build that fails changes nothing: the version before plays on, and the compiler's words are shown here and on the players'
pages. Watched are the crate, its path dependencies, and whatever other files the code takes in. Each start begins with a new
world in data-dev; a folder given by --data keeps its world, and the version before plays on while a new one has no place for
it. Built versions go to the plugins folder as dev.<version>.so, and old ones are removed.")]
    Dev(DevFlags),
    /// Swap every room of a running engine to a plugin, and wait until the new code has answered.
    #[command(after_help = "\
Examples:
  engine load plugin2.so
  engine load game.1002.so --data /var/lib/hotseat
  engine load plugin3.so --confirm")]
    Load {
        /// The name of a file in the plugins folder of that engine.
        name: String,
        /// Confirm the version that is on trial first, if one is.
        #[arg(long)]
        confirm: bool,
        /// Try the version even if it has failed before.
        #[arg(long)]
        force: bool,
        /// A field (Avatar.hp) or a table (orbs) that may be lost; may be given more than once.
        #[arg(long, value_name = "NAME")]
        drop: Vec<String>,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Confirm the version that is on trial: no room goes back to before it any more.
    #[command(after_help = "\
Example:
  engine confirm")]
    Confirm {
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Take the version on trial back: every room goes on with the version from before, as if it had never been swapped.
    #[command(after_help = "\
Example:
  engine rollback --reason 'orbs are worth nothing'")]
    Rollback {
        /// For those who ask later; at most 200 characters.
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Show the rooms, versions and recent swaps of a running engine.
    #[command(after_help = "\
Examples:
  engine status
  engine status --json | jq '.rooms[].tick'")]
    Status {
        /// Print the engine's JSON instead of tables.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Show, open, lock and close the rooms of a running engine, and who is in them.
    #[command(
        args_conflicts_with_subcommands = true,
        after_help = "\
Examples:
  engine rooms
  engine rooms new duel-7 --label duel --players-max 2 --dispose-when-empty
  engine rooms lock main
  engine rooms close duel-7 --grace-ms 0
  engine rooms players main
  engine rooms kick main 4711 --reason 'that is not how we talk here'"
    )]
    Rooms {
        #[command(subcommand)]
        command: Option<RoomsCommand>,
        /// Print the engine's JSON instead of a table.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        client: ClientFlags,
    },
    /// Show what is kept of the rooms: their journals and snapshots.
    #[command(after_help = "\
Examples:
  engine journal list
  engine journal tail main --records 50
  engine journal check

Nothing is changed, and the engine may be running.")]
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
        /// Data folder [default: that of the config file].
        #[arg(long, value_name = "DIR", global = true)]
        data: Option<PathBuf>,
        /// Config file that names the data folder [default: engine.toml if it is there].
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
    },
    /// Run a room's journal once more: to look at the room at any tick, to verify it, or to try a fix on it.
    #[command(after_help = "\
Examples:
  engine replay --room main --verify
  engine replay --room main --until 1200 --dump
  engine replay --room main --with plugins/game.1003.so

Nothing that is kept is changed, and the engine may be running. An input that ends the process is told, and left out.")]
    Replay(ReplayFlags),
    /// Show what a snapshot holds, and how it opens under another version: the one that wrote it is not needed.
    #[command(after_help = "\
Examples:
  engine snapshot data/rooms/main/00000000000000000512.snapshot --dump
  engine snapshot data/rooms/main/00000000000000000512.snapshot --with plugins/game.1002.so --drop Avatar.hp

Nothing that is kept is changed, and the engine may be running. Migrations and upgraded run in a process of their own; if they
end it or never return, that is told, and the exit status is 1.")]
    Snapshot(SnapshotFlags),
    /// Tell what a swap from one plugin file to another would do to the tables, without an engine.
    #[command(after_help = "\
Examples:
  engine plan plugins/game.1001.so plugins/game.1002.so
  engine plan plugins/game.1002.so plugins/game.1001.so --drop Avatar.level --json

The exit status is 1 if a load would be refused for it.")]
    Plan {
        /// The plugin that runs.
        old: PathBuf,
        /// The plugin that is to run.
        new: PathBuf,
        /// A field (Avatar.hp) or a table (orbs) that may be lost; may be given more than once.
        #[arg(long, value_name = "NAME")]
        drop: Vec<String>,
        /// Print JSON instead of text.
        #[arg(long)]
        json: bool,
        /// Config file whose plugin_bytes_max and probe_timeout_ms hold [default: engine.toml if it is there].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Tell what a load would say about a plugin file, without an engine.
    #[command(after_help = "\
Example:
  engine check plugins/game.1002.so")]
    Check {
        /// The plugin's file.
        file: PathBuf,
        /// Config file whose plugin_bytes_max and probe_timeout_ms hold [default: engine.toml if it is there].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum JournalCommand {
    /// A line for each room.
    List,
    /// The last records of a room.
    Tail {
        /// The room.
        room: String,
        /// How many.
        #[arg(short = 'n', long, value_name = "N", default_value_t = TAIL_RECORDS)]
        records: usize,
    },
    /// Read everything that is kept, to the last byte, and say whether it is sound: journals and snapshots, what is known of rooms
    /// and versions, and the plugins that they need.
    Check {
        /// Only this room.
        room: Option<String>,
    },
}

#[derive(Debug, Clone, Default, Args)]
pub struct ServeFlags {
    /// Address and port to listen on; port 0 takes a free one and prints it [default: 127.0.0.1:12345].
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Folder in which names of plugins are looked up [default: plugins].
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Folder for what the engine keeps; one engine at a time [default: data].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The version to start on: the name of its file in the plugins folder (game.1002.so), or the name that is compiled into it
    /// (game2) [default: the highest in the plugins folder]. Rooms that are kept in the data folder go on on the version that ran
    /// them, unless this is the file of a higher one: then it is loaded before anybody comes in.
    #[arg(long, value_name = "NAME")]
    pub logic: Option<String>,
    /// A field (Avatar.hp) or a table (orbs) that rooms that are kept may lose by the version to start on; may be given more than
    /// once.
    #[arg(long, value_name = "NAME", requires = "logic")]
    pub drop: Vec<String>,
    /// Config file, which must exist [default: engine.toml if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines look [default: auto, which is human on a terminal and JSON elsewhere].
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log: Option<LogFormat>,
    /// How long a version is on trial after a load; 0s: it is confirmed at once [default: 10s].
    #[arg(long, value_name = "TIME", value_parser = probation)]
    pub probation: Option<Duration>,
    /// Begin anew: the rooms that are kept in the data folder are moved aside, not deleted.
    #[arg(long)]
    pub fresh: bool,
}

fn probation(text: &str) -> Result<Duration, String> {
    PROBATION.parse(text).ok_or_else(|| format!("accepted is {PROBATION}"))
}

impl From<ServeFlags> for Flags {
    fn from(flags: ServeFlags) -> Flags {
        let ServeFlags { listen, plugins, data, logic, drop, config, log, probation, fresh } = flags;
        Flags { config, listen, plugins, data, logic, log, probation, fresh, drops: drop, show_faults: false }
    }
}

#[derive(Debug, Clone, Default, Args)]
pub struct DevFlags {
    /// Folder of the crate [default: the current one, or logic in it].
    pub folder: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one and prints it [default: 127.0.0.1:12345].
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Folder in which built versions are put [default: plugins].
    #[arg(long, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Folder that keeps the world from one start to the next [default: data-dev, emptied at each start].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A field (Avatar.hp) or a table (orbs) that rooms that are kept may lose by the version to start on; may be given more than
    /// once.
    #[arg(long, value_name = "NAME", requires = "data")]
    pub drop: Vec<String>,
    /// Config file, which must exist [default: engine.toml if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How log lines look [default: auto, which is human].
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub log: Option<LogFormat>,
}

impl From<&DevFlags> for Flags {
    fn from(flags: &DevFlags) -> Flags {
        let DevFlags { folder: _, listen, plugins, data, drop, config, log } = flags.clone();
        // The config file's folder has a world that somebody plays in.
        let data = data.or_else(|| Some(dev::DATA.into()));
        // The next save is the next load.
        let probation = Some(Duration::ZERO);
        // Whoever plays here is whoever writes it.
        Flags {
            config,
            listen,
            plugins,
            data,
            logic: None,
            log,
            probation,
            fresh: false,
            drops: drop,
            show_faults: true,
        }
    }
}

/// Which engine to talk to.
#[derive(Debug, Clone, Default, Args)]
pub struct ClientFlags {
    /// Where the engine is, such as http://10.0.0.5:12345; its token is read from the folder given by --data, if any
    /// [default: what the data folder says].
    #[arg(long)]
    pub url: Option<String>,
    /// Data folder of the engine [default: that of the config file].
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Config file that names the data folder [default: engine.toml if it is there].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    fn flags_reach_the_config() {
        let words =
            "engine serve --listen [::1]:0 --plugins p --data d --logic game1 --config c --log json --probation 2min";
        let Command::Serve(flags) = Cli::try_parse_from(words.split(' ')).unwrap().command else {
            panic!("serve is serve");
        };
        let flags = Flags::from(flags);
        assert_eq!(flags.listen, Some("[::1]:0".parse().unwrap()));
        assert_eq!(flags.plugins, Some("p".into()));
        assert_eq!(flags.data, Some("d".into()));
        assert_eq!(flags.logic.as_deref(), Some("game1"));
        assert_eq!(flags.config, Some("c".into()));
        assert_eq!(flags.log, Some(LogFormat::Json));
        assert_eq!(flags.probation, Some(Duration::from_secs(120)));
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for words in ["engine rooms close", "engine rooms new a --linger-ms 5"] {
            Cli::try_parse_from(words.split(' ')).unwrap_err();
        }
    }

    #[test]
    fn the_probe_is_not_for_users() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("serve") && !help.contains("probe"), "{help}");
    }
}
