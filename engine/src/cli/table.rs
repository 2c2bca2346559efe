//! What the client commands print: plain columns, for a person at a terminal.

use std::fmt::Write as _;

use jiff::{Timestamp, Unit};

use crate::logs::one_line;
use crate::status::{
    Decided, Loaded, Outcome, PlayerStatus, RoomState, RoomStatus, Status, SwapRecord, TrialStatus, VersionName,
};

/// The newest swaps that are shown; the JSON has more.
const SWAPS_SHOWN_MAX: usize = 10;
/// Lines of why one of them was refused.
const DETAILS_SHOWN_MAX: usize = 8;
/// Enough of a hash to tell versions apart by eye.
const HASH_CHARS: usize = 12;

pub(super) fn loaded(loaded: &Loaded) -> String {
    let before = match loaded.previous.as_slice() {
        [] => String::new(),
        previous => format!(", before {}", previous.iter().map(version).collect::<Vec<_>>().join(" and ")),
    };
    let pause_us = loaded.pauses.iter().map(|pause| pause.pause_us).max().unwrap_or(0);
    let plans: String = loaded.plans.iter().map(|plan| plan.plan.to_string()).collect();
    let on_trial = match loaded.on_trial_for_ms {
        0 => String::new(),
        ms => format!("; on trial for {}", duration(ms.saturating_mul(1000))),
    };
    format!(
        "done: {} {}{before}; longest pause {}, {} in all{on_trial}\n{plans}",
        loaded.name,
        loaded.version,
        duration(pause_us),
        duration(loaded.total_us)
    )
}

pub(super) fn decided(decided: &Decided) -> String {
    let Decided { name, version: number, running, rooms, total_us, .. } = decided;
    let running = running.iter().map(version).collect::<Vec<_>>().join(" and ");
    if decided.outcome == Outcome::Confirmed {
        return format!("confirmed: {name} {number}; {} in all\n", duration(*total_us));
    }
    let pause_us = rooms.iter().map(|room| room.pause_us).max().unwrap_or(0);
    let (inputs, lost) = rooms.iter().fold((0, 0), |(inputs, lost), room| (inputs + room.inputs, lost + room.lost));
    format!(
        "rewound: {running} runs again, and {name} {number} has failed; {inputs} inputs once more, {lost} of them lost; longest \
         pause {}, {} in all\n",
        duration(pause_us),
        duration(*total_us)
    )
}

pub(super) fn status(status: &Status) -> String {
    let engine = &status.engine;
    let mut text = format!(
        "engine {} on {}, process {}, up {}",
        engine.version,
        engine.listen,
        engine.pid,
        uptime(engine.uptime_s)
    );
    if let Some(bytes) = engine.rss_bytes {
        let _ = write!(text, ", {} in memory", size(bytes));
    }
    text.push_str(if engine.stopping { ", stopping\n" } else { "\n" });
    if let Some(TrialStatus { name, version: number, from, seconds_left, .. }) = &status.trial {
        let from = from.iter().map(version).collect::<Vec<_>>().join(" and ");
        let _ = writeln!(text, "on trial: {name} {number} after {from}, {seconds_left} s left");
    }
    rooms(&mut text, status);
    versions(&mut text, status);
    swaps(&mut text, &status.swaps);
    text
}

fn rooms(text: &mut String, status: &Status) {
    let mut table = Table::new(&[
        "room",
        "<version",
        "logic",
        "state",
        "<tick",
        "<hz",
        "<players",
        "<rows",
        "<memory",
        "<overruns",
        "<faults",
    ]);
    for room in &status.rooms {
        table.row([
            room.name.clone(),
            room.version.to_string(),
            room.logic.clone(),
            state(room).to_owned(),
            room.tick.to_string(),
            room.tick_hz.to_string(),
            room.players.to_string(),
            room.rows.to_string(),
            size(room.bytes),
            room.overruns.to_string(),
            room.faults.to_string(),
        ]);
    }
    table.write(text);
    for room in &status.rooms {
        let Some(fault) = &room.last_fault else { continue };
        let _ = writeln!(
            text,
            "last fault in {}: version {} in {}: {}{}, {} (fault {})",
            room.name,
            fault.version,
            fault.callback,
            one_line(&fault.message),
            if fault.location.is_empty() { String::new() } else { format!(" at {}", one_line(&fault.location)) },
            time(fault.at),
            fault.reference
        );
    }
}

pub(super) fn room_list(rooms: &[RoomStatus]) -> String {
    let mut table = Table::new(&["room", "<id", "label", "state", "door", "<players", "<seats", "<hz", "<version"]);
    for room in rooms {
        table.row([
            room.name.clone(),
            room.id.to_string(),
            room.label.clone().unwrap_or_else(|| "-".to_owned()),
            state(room).to_owned(),
            if room.locked { "locked" } else { "open" }.to_owned(),
            room.players.to_string(),
            room.players_max.to_string(),
            room.tick_hz.to_string(),
            room.version.to_string(),
        ]);
    }
    let mut text = String::new();
    table.write(&mut text);
    // The empty line that tables of a status have between them.
    if text.is_empty() { "there are no rooms\n".to_owned() } else { text.split_off(1) }
}

/// `engine rooms players`.
pub(super) fn player_list(players: &[PlayerStatus]) -> String {
    let mut table = Table::new(&["<player", "connection", "<round trip", "<inputs"]);
    for player in players {
        table.row([
            player.player.to_string(),
            if player.connected { "open" } else { "awaited" }.to_owned(),
            player.rtt_us.map_or_else(|| "-".to_owned(), |rtt_us| format!("{:.1} ms", f64::from(rtt_us) / 1e3)),
            player.consumed.to_string(),
        ]);
    }
    let mut text = String::new();
    table.write(&mut text);
    if text.is_empty() { "nobody is in the room\n".to_owned() } else { text.split_off(1) }
}

fn state(room: &RoomStatus) -> &'static str {
    match room.state {
        RoomState::Running => "running",
        RoomState::Frozen => "FROZEN",
        RoomState::Stuck => "STUCK",
        RoomState::Ending => "ending",
    }
}

fn versions(text: &mut String, status: &Status) {
    let mut table = Table::new(&["<version", "name", "file", "build id", "sha256", "<size", "mapped at", "rooms"]);
    for version in &status.versions {
        table.row([
            version.version.to_string(),
            version.name.clone(),
            version.file.clone(),
            version.build_id.chars().take(HASH_CHARS).collect(),
            version.sha256.chars().take(HASH_CHARS).collect(),
            size(version.bytes),
            time(version.mapped_at),
            if version.rooms.is_empty() { "-".to_owned() } else { version.rooms.join(" ") },
        ]);
    }
    table.write(text);
}

fn swaps(text: &mut String, swaps: &[SwapRecord]) {
    let mut table = Table::new(&["swap at", "name", "from", "to", "outcome", "<pause", "<total", "who"]);
    let name = |side: &Option<VersionName>| side.as_ref().map_or_else(|| "-".to_owned(), version);
    for swap in swaps.iter().take(SWAPS_SHOWN_MAX) {
        let outcome = match swap.outcome {
            Outcome::Refused => "refused",
            Outcome::OnTrial => "on trial",
            Outcome::Confirmed => "confirmed",
            Outcome::Rewound => "rewound",
        };
        table.row([
            time(swap.at),
            swap.name.clone(),
            name(&swap.from),
            name(&swap.to),
            outcome.to_owned(),
            duration(swap.pause_us_max),
            duration(swap.total_us),
            swap.who.clone(),
        ]);
    }
    table.write(text);
    // Not in the table: one long reason would make every line of it wider than a terminal.
    for swap in swaps.iter().take(SWAPS_SHOWN_MAX) {
        if let Some(reason) = &swap.reason {
            let _ = writeln!(text, "refused at {}: {}", time(swap.at), one_line(reason));
            swap.details.iter().take(DETAILS_SHOWN_MAX).for_each(|line| text.extend(["  ", &one_line(line), "\n"]));
            let more = swap.details.len().saturating_sub(DETAILS_SHOWN_MAX);
            if more > 0 {
                let _ = writeln!(text, "  … and {more} more, which --json tells");
            }
        }
        if let (Outcome::Rewound, Some(verdict)) = (swap.outcome, &swap.verdict) {
            let _ = writeln!(text, "rewound at {} by {}: {}", time(verdict.at), verdict.who, one_line(&verdict.reason));
        }
    }
}

/// Columns as wide as their widest cell; one whose title starts with `<` is of numbers and leans right.
struct Table<const COLUMNS: usize> {
    titles: [&'static str; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    fn new(titles: &[&'static str; COLUMNS]) -> Self {
        Table { titles: *titles, rows: Vec::new() }
    }

    fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells);
    }

    /// Nothing at all for a table without rows.
    fn write(mut self, text: &mut String) {
        if self.rows.is_empty() {
            return;
        }
        self.rows.insert(0, self.titles.map(|title| title.trim_start_matches('<').to_uppercase()));
        let widths: [usize; COLUMNS] =
            std::array::from_fn(|column| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
        text.push('\n');
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, width), title) in row.iter().zip(widths).zip(self.titles) {
                let _ = if title.starts_with('<') {
                    write!(line, "{cell:>width$}  ")
                } else {
                    write!(line, "{cell:<width$}  ")
                };
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
}

fn version(version: &VersionName) -> String {
    format!("{} {}", version.name, version.version)
}

fn time(at: Timestamp) -> String {
    at.round(Unit::Second).unwrap_or(at).to_string()
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
fn size(bytes: u64) -> String {
    match bytes {
        0..0x400 => format!("{bytes} B"),
        0x400..0x10_0000 => format!("{:.1} KiB", bytes as f64 / f64::from(1 << 10)),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    }
}

fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
