//! What a room shows of itself to those who must not wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use parking_lot::Mutex;
use room::{LogicFault, LogicVersion, Room, WorldSize};

use crate::metrics::RoomMetrics;
use crate::rooms::entrance::{Entrance, Terms};
use crate::rooms::name::{RoomId, RoomName};
use crate::status::{FaultStatus, RoomState, RoomStatus};

/// Written by the room's thread, read by anybody. The lock is held to copy, never while a logic runs.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) id: RoomId,
    pub(super) name: RoomName,
    /// Who may come in.
    pub(super) entrance: Arc<Entrance>,
    pub(super) tick_hz: u32,
    metrics: RoomMetrics,
    tick: AtomicU64,
    /// Set by the watchdog.
    is_stuck: AtomicBool,
    shown: Mutex<Shown>,
}

#[derive(Debug)]
struct Shown {
    logic: Arc<LogicVersion>,
    frozen: bool,
    connected: usize,
    size: WorldSize,
    last_fault: Option<FaultStatus>,
}

impl Board {
    pub(super) fn new(
        (id, name): (RoomId, RoomName),
        logic: Arc<LogicVersion>,
        tick_hz: u32,
        terms: Terms,
        metrics: RoomMetrics,
    ) -> Self {
        let shown = Shown { logic, frozen: false, connected: 0, size: WorldSize::default(), last_fault: None };
        let entrance = Entrance::new(terms);
        Self {
            id,
            name,
            entrance,
            tick_hz,
            metrics,
            tick: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
            shown: Mutex::new(shown),
        }
    }

    pub(super) fn set_stuck(&self, is_stuck: bool) {
        self.is_stuck.store(is_stuck, Ordering::Relaxed);
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    pub(super) fn metrics(&self) -> &RoomMetrics {
        &self.metrics
    }

    pub(super) fn show_tick(&self, room: &Room) {
        self.tick.store(room.tick().0, Ordering::Relaxed);
    }

    /// Everything but the fault.
    pub(super) fn show(&self, room: &Room, connected: usize) {
        let size = room.world().size();
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.metrics.rows.set(gauge(size.rows));
        self.metrics.pages.set(gauge(size.pages));
        self.metrics.forks.inc_by(room.forks().saturating_sub(self.metrics.forks.get()));
        self.show_tick(room);
        let mut shown = self.shown.lock();
        shown.size = size;
        shown.connected = connected;
        shown.frozen = room.frozen().is_some();
        if !Arc::ptr_eq(&shown.logic, room.logic()) {
            shown.logic = Arc::clone(room.logic());
        }
    }

    pub(super) fn show_fault(&self, fault: &LogicFault) {
        self.metrics.faults.inc();
        let fault = FaultStatus {
            version: fault.version.0,
            callback: fault.callback.to_owned(),
            message: fault.message.clone(),
            location: fault.location.clone(),
            reference: fault.reference(),
            at: Timestamp::now(),
        };
        self.shown.lock().last_fault = Some(fault);
    }

    /// The version that the room runs.
    pub(super) fn logic(&self) -> Arc<LogicVersion> {
        Arc::clone(&self.shown.lock().logic)
    }

    pub(super) fn size(&self) -> WorldSize {
        self.shown.lock().size
    }

    pub(super) fn status(&self) -> RoomStatus {
        let terms = self.entrance.terms();
        let shown = self.shown.lock();
        RoomStatus {
            name: self.name.to_string(),
            id: self.id.0,
            label: terms.label.map(|label| label.to_string()),
            version: shown.logic.version().0,
            logic: shown.logic.name().to_owned(),
            state: match (terms.is_ending, shown.frozen) {
                _ if self.is_stuck() => RoomState::Stuck,
                (true, _) => RoomState::Ending,
                (false, true) => RoomState::Frozen,
                (false, false) => RoomState::Running,
            },
            locked: terms.is_locked,
            tick: self.tick.load(Ordering::Relaxed),
            players: terms.players as u64,
            connected: shown.connected as u64,
            players_max: terms.players_max as u64,
            rows: shown.size.rows,
            pages: shown.size.pages,
            bytes: shown.size.row_bytes + shown.size.heap_bytes,
            tick_hz: self.tick_hz,
            overruns: self.metrics.overruns.get(),
            faults: self.metrics.faults.get(),
            last_fault: shown.last_fault.clone(),
        }
    }
}
