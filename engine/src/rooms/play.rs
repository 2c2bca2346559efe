//! What players do to a room: their connections' coming and going and their messages, as inputs; and the outputs, as
//! frames.
//!
//! A room that is frozen takes no input. Connections stay, and what they bring waits, in order: a connection that has
//! brought as much as it may is not read from any more, so the client itself is held up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use logic_api::PlayerId;
use room::limits::TRIAL_INPUTS_MAX;
use room::{Input, LogicVersion, Lost, Output, Reply, Room, StepError, Watch};
use tokio::sync::oneshot;
use wire::limits::{VERSION_NAME_BYTES_MAX, cut};
use wire::{CloseCode, EngineFrame, InputError, Joined, Severity};

use crate::journal::replay::rewinding;
use crate::progress::Progress;
use crate::rooms::command::{Entry, FromPlayer};
use crate::rooms::entrance::Reservation;
use crate::rooms::error::RoomError;
use crate::rooms::outlet::Entered;
use crate::rooms::players::{Notice, Session, Wish};
use crate::rooms::seat::Seat;
use crate::sessions::{Bad, Link};
use crate::status::PlayerStatus;

/// A new player, as the lobby lets them in.
#[derive(Debug)]
pub(super) struct Newcomer {
    pub(super) player: PlayerId,
    pub(super) hello: Arc<[u8]>,
    pub(super) claims: Arc<str>,
    pub(super) reservation: Reservation,
    pub(super) entry: Entry,
}

impl Seat {
    /// Applies an input, and has its outputs delivered.
    pub(super) fn step(&mut self, input: Input) -> Result<Reply, StepError> {
        let (stamp, outbox) = (self.clock.stamp(), &mut self.outbox);
        let beat = &self.beat;
        let busy = beat.step(self.board.id.0, &input);
        let mut step = |room: &mut Room, input, watch: &mut dyn Watch| {
            let part = matches!(input, Input::Rewind { .. }).then(|| rewinding(&Progress::in_log(), room));
            room.step_watched(stamp, input, outbox, &mut beat.rewinding(watch, part))
        };
        let result = match &mut self.recorder {
            None => step(&mut self.room, input, &mut ()),
            Some(recorder) => recorder.step(&mut self.room, stamp, input, step),
        };
        drop(busy);
        self.deliver();
        result
    }

    /// Hands outputs to those whom they are for. Who is kicked is left for [`Seat::settle`].
    fn deliver(&mut self) {
        if self.outbox.outputs().is_empty() {
            return;
        }
        let tick = self.room.tick().0;
        for output in self.outbox.drain() {
            match output {
                Output::Send { to, bytes } => self.players.send(&mut self.outlet, to, tick, bytes),
                Output::Broadcast { except, bytes } => self.players.broadcast(&mut self.outlet, except, tick, &bytes),
                Output::Kick { player, reason } => self.kicked.push_back((player, reason)),
            }
        }
    }

    /// Puts out who was kicked, and who is kicked for that. To be called after whatever may have stepped.
    pub(super) fn settle(&mut self) {
        while let Some((player, reason)) = self.kicked.pop_front() {
            if self.room.world().player(player).is_none() {
                continue;
            }
            let reason: Arc<str> = reason.into();
            let bad = Bad::new(CloseCode::Kicked, "kicked", reason.to_string());
            self.put_out(player, reason, bad);
        }
        self.players_changed();
    }

    /// Whether no input can be applied now that would stay.
    fn is_stalled(&self) -> bool {
        self.room.frozen().is_some()
            || self.thaws_when_all_swapped
            || self.room.trial_inputs().is_some_and(|inputs| inputs >= TRIAL_INPUTS_MAX)
    }

    /// Lets a player in, if the logic does.
    pub(super) fn join(&mut self, newcomer: Newcomer, reply: oneshot::Sender<Entered>) {
        let Newcomer { player, hello, claims, reservation, entry } = newcomer;
        let joined = if self.is_terminated() {
            // The seat was kept before the end began.
            Err(RoomError::Ending { room: self.room.name().to_owned() })
        } else if self.is_stalled() {
            Err(self.stalled())
        } else {
            // Before the input, so that what `join` sends reaches the player, and comes after the Joined frame.
            self.players.connect(player, Arc::clone(&entry.link), 0);
            self.tell_joined(player, &entry.token, false);
            let stepped = self.step(Input::Join { player, hello, claims });
            stepped.map(drop).map_err(|error| {
                if let Some((_, slot)) = self.players.remove(player) {
                    self.outlet.retract(slot);
                }
                self.error_of(error)
            })
        };
        if let Err(error) = &joined {
            let bad = Bad::new(error.close_code(), "join-refused", refusal_text(error));
            self.outlet.close(&entry.link, &mut Default::default(), bad);
        }
        reservation.settle(self.room.world().players().len());
        self.settle();
        self.outlet.entered(reply, joined);
    }

    /// A player is back, by whichever connection.
    pub(super) fn resume(&mut self, player: PlayerId, entry: &Entry, reply: oneshot::Sender<Entered>) {
        let leaves = self.players.get(player).is_some_and(Session::leaves);
        let Some(known) = self.room.world().player(player).filter(|_| !leaves) else {
            let reason = "the player has left the room, or was never in it";
            let bad = Bad::new(CloseCode::BadToken, "token-of-nobody", reason);
            self.outlet.close(&entry.link, &mut Default::default(), bad);
            self.outlet.entered(reply, Err(RoomError::Step(StepError::NotIn(player))));
            return;
        };
        if let Some((older, mut slot)) = self.players.disconnect(player, Instant::now()) {
            let reason = "a newer connection of the same player has taken over";
            self.outlet.close(&older, &mut slot, Bad::new(CloseCode::TakenOver, "taken-over", reason));
            // The logic is told, since the client that comes now may know nothing of what the other was sent.
            self.wish(Wish::Drop(player));
        }
        self.players.connect(player, Arc::clone(&entry.link), known.consumed);
        self.tell_joined(player, &entry.token, true);
        self.wish(Wish::Reconnect(player));
        self.settle();
        self.outlet.entered(reply, Ok(()));
    }

    fn tell_joined(&mut self, player: PlayerId, token: &str, resumed: bool) {
        let logic = Arc::clone(self.room.logic());
        let joined = Joined {
            player: player.0,
            resumed,
            tick_hz: u16::try_from(self.board.tick_hz).unwrap_or(u16::MAX),
            version: logic.version().0,
            version_name: cut(logic.name(), VERSION_NAME_BYTES_MAX),
            room: self.board.name.as_str(),
            token,
        };
        let tick = self.room.tick().0;
        self.players.tell(&mut self.outlet, player, tick, &EngineFrame::Joined(joined));
        let notice = self.players.house.notice.lock().clone().or_else(|| self.frozen_notice());
        if let Some(Notice { severity, text, .. }) = notice {
            let frame = EngineFrame::Notice { severity, text: &text };
            self.players.tell(&mut self.outlet, player, tick, &frame);
        }
    }

    /// What a connection brings.
    pub(super) fn hear(&mut self, player: PlayerId, link: Arc<Link>, what: FromPlayer) {
        if !self.players.hears(player, &link) {
            return;
        }
        match what {
            FromPlayer::Messages(messages) => {
                for (number, bytes) in messages {
                    self.wish(Wish::Message { player, link: Arc::clone(&link), number, bytes });
                }
            }
            FromPlayer::Leave => {
                let bad = Bad::new(CloseCode::Left, "left", "the player left");
                let _noted = self.take_leave(player, "left".into(), bad);
            }
            FromPlayer::Gone => {
                self.players.disconnect(player, Instant::now());
                self.wish(Wish::Drop(player));
            }
        }
        self.settle();
    }

    /// Takes out who was not back in time.
    pub(super) fn take_overdue_out(&mut self, now: Instant) {
        while let Some((player, left_because)) = self.players.take_overdue(now) {
            let bad = Bad::new(CloseCode::BadToken, "away", "the player was away for too long");
            self.put_out(player, left_because.unwrap_or_else(|| "away for too long".into()), bad);
            self.settle();
        }
    }

    /// Takes a player out for good, and tells their connection why. What they sent, and has had to wait, is dropped.
    fn put_out(&mut self, player: PlayerId, reason: Arc<str>, bad: Bad) {
        if let Some((link, mut slot)) = self.players.put_out(player) {
            self.outlet.close(&link, &mut slot, bad);
        }
        let _noted = self.leave(player, reason);
    }

    /// As `put_out`, but after what the player sent before, however long that has to wait. The connection ends at once.
    ///
    /// # Errors
    /// Those of [`Seat::leave`].
    pub(super) fn take_leave(&mut self, player: PlayerId, reason: Arc<str>, bad: Bad) -> Result<(), StepError> {
        self.players.take_leave(&mut self.outlet, player, bad);
        self.leave(player, reason)
    }

    /// Players who have left, and are in the world all the same: their leave had to wait when the process before this one ended,
    /// the logic failed on it, or it was lost by a rewind.
    pub(super) fn go_on_leaving(&mut self, leaving: BTreeMap<PlayerId, Arc<str>>) {
        for (player, reason) in leaving {
            if self.room.world().player(player).is_some() {
                self.players.leaves(player);
                let _noted = self.leave(player, reason);
            }
        }
        self.settle();
    }

    /// Applies what was wished for, now or when the room takes inputs again.
    fn wish(&mut self, wish: Wish) {
        if self.has_to_wait() {
            self.wait(wish);
        } else {
            self.grant(wish);
        }
    }

    /// The logic hears that a player has left, now or when the room takes inputs again.
    ///
    /// # Errors
    /// It failed on it, and hears of it once more after the grace. Noted already.
    fn leave(&mut self, player: PlayerId, reason: Arc<str>) -> Result<(), StepError> {
        if !self.has_to_wait() {
            return self.grant_leave(player, reason);
        }
        self.note_leave(player, &reason);
        self.wait(Wish::Leave { player, reason });
        Ok(())
    }

    /// Whoever leaves is told before the logic is, and must not be in again after a restart.
    fn note_leave(&mut self, player: PlayerId, reason: &Arc<str>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.leaves(&self.room, player, reason);
        }
    }

    fn has_to_wait(&self) -> bool {
        self.is_stalled() || !self.players.waiting.is_empty()
    }

    fn wait(&mut self, wish: Wish) {
        self.players.wait(wish);
        // Connections come and go all the same.
        self.changed();
    }

    /// Applies what had to wait.
    pub(super) fn grant_waiting(&mut self) {
        while !self.is_stalled() {
            let Some(wish) = self.players.take_waiting() else { break };
            self.grant(wish);
        }
        self.settle();
    }

    fn grant(&mut self, wish: Wish) {
        let in_world = |seat: &Self, player| seat.room.world().player(player);
        match wish {
            Wish::Message { player, link, number, bytes } => {
                link.worked_off(Link::cost(bytes.len()));
                if self.players.is_link_of(player, &link) {
                    self.message(player, number, bytes);
                }
            }
            Wish::Drop(player) if in_world(self, player).is_some_and(|player| player.is_connected) => {
                self.grant_presence(player, Input::Drop { player });
            }
            Wish::Reconnect(player) if in_world(self, player).is_some_and(|player| !player.is_connected) => {
                self.grant_presence(player, Input::Reconnect { player });
            }
            Wish::Return(player) => {
                self.grant(Wish::Drop(player));
                if self.players.get(player).is_some_and(|session| session.link.is_some()) {
                    if self.is_stalled() {
                        self.players.wait_first(player);
                    } else {
                        self.grant(Wish::Reconnect(player));
                    }
                }
            }
            Wish::Leave { player, reason } => {
                let _noted = self.grant_leave(player, reason);
            }
            Wish::Drop(_) | Wish::Reconnect(_) => {}
        }
        self.changed();
    }

    fn grant_leave(&mut self, player: PlayerId, reason: Arc<str>) -> Result<(), StepError> {
        // Its connection is closed already.
        self.players.remove(player);
        self.changed();
        if self.room.world().player(player).is_none() {
            return Ok(());
        }
        let stepped = self.step(Input::Leave { player, reason: Arc::clone(&reason) });
        if let Err(error) = &stepped {
            self.failed(error);
            self.note_leave(player, &reason);
            // Perhaps on better code. Their token is of no use meanwhile.
            self.players.leaves_again(player, reason, Instant::now());
            self.grant(Wish::Drop(player));
        }
        stepped.map(drop)
    }

    /// A drop, or a return. It is true even if the logic fails on it, so the world takes it without the logic: else the
    /// next one would be none, and the logic would not hear of a player who is back.
    fn grant_presence(&mut self, player: PlayerId, input: Input) {
        let is_connected = matches!(input, Input::Reconnect { .. });
        let Err(error) = self.step(input) else { return };
        self.failed(&error);
        if let Err(error) = self.step(Input::Presence { player, is_connected }) {
            self.failed(&error);
        }
        if is_connected {
            let (tick, text) = (self.room.tick().0, self.players.house.told_error(&error));
            let frame = EngineFrame::Error { error: InputError::Fault, number: 0, text: &text };
            self.players.tell(&mut self.outlet, player, tick, &frame);
        }
    }

    fn message(&mut self, player: PlayerId, number: u32, bytes: Arc<[u8]>) {
        let Some(session) = self.players.get(player) else { return };
        let consumed = session.consumed;
        if number <= consumed {
            self.players.house.metrics.duplicates.inc();
            return;
        }
        if number - consumed > 1 {
            let reason = format!("input number {number}; expected {}", consumed + 1);
            let bad = Bad::frame("number-unexpected", reason);
            if let Some((link, mut slot)) = self.players.disconnect(player, Instant::now()) {
                self.outlet.close(&link, &mut slot, bad);
            }
            self.grant(Wish::Drop(player));
            return;
        }
        // What it is answered with says already that it is consumed.
        self.set_consumed(player, number);
        let Err(error) = self.step(Input::Message { player, number, bytes }) else { return };
        let text = self.players.house.told_error(&error);
        self.failed(&error);
        if let Err(error) = self.step(Input::Skip { player, number }) {
            self.failed(&error);
        }
        let (tick, error) = (self.room.tick().0, InputError::Fault);
        self.players.tell(&mut self.outlet, player, tick, &EngineFrame::Error { error, number, text: &text });
    }

    fn set_consumed(&mut self, player: PlayerId, number: u32) {
        if let Some(session) = self.players.get_mut(player) {
            session.consumed = number;
        }
    }

    /// Ascending.
    pub(super) fn player_statuses(&self) -> Vec<PlayerStatus> {
        let world = self.room.world();
        let known = world.players().iter().filter_map(|player| world.player(*player));
        let status = |player: room::Player| {
            let session = self.players.get(player.id).filter(|session| session.is_connected());
            let rtt_us = session.and_then(|session| session.link.as_ref()).map(|link| link.rtt_us());
            PlayerStatus {
                player: player.id.0,
                connected: session.is_some(),
                consumed: player.consumed,
                rtt_us: rtt_us.filter(|rtt_us| *rtt_us > 0),
            }
        };
        known.map(status).collect()
    }

    /// After a rewind, or where a room is not new: sessions become what the world says.
    pub(super) fn match_world(&mut self) {
        for player in self.players.ids() {
            if let Some(known) = self.room.world().player(player) {
                self.set_consumed(player, known.consumed);
            } else if let Some((link, mut slot)) = self.players.remove(player) {
                let reason = "the room went back to before the player joined";
                self.outlet.close(&link, &mut slot, Bad::new(CloseCode::BadToken, "join-undone", reason));
            }
        }
        let world = self.room.world();
        let in_world: Vec<_> = world.players().iter().filter_map(|player| world.player(*player)).collect();
        for room::Player { id: player, is_connected, .. } in in_world {
            match self.players.get(player) {
                None => {
                    self.players.disconnect(player, Instant::now());
                    self.wish(Wish::Drop(player));
                }
                Some(session) if session.leaves() => {}
                // Their going or coming was lost.
                Some(session) if session.is_connected() && !is_connected => self.wish(Wish::Reconnect(player)),
                Some(session) if !session.is_connected() && is_connected => self.wish(Wish::Drop(player)),
                Some(_) => {}
            }
        }
        self.settle();
    }

    /// Everybody is told the version that runs from here on.
    pub(super) fn tell_version(&mut self, logic: &LogicVersion) {
        let (version, name) = (logic.version().0, cut(logic.name(), VERSION_NAME_BYTES_MAX));
        let (tick, frame) = (self.room.tick().0, EngineFrame::Version { version, name });
        self.players.tell_version(&mut self.outlet, tick, &frame);
    }

    /// Everybody is told that the room went back in time.
    pub(super) fn tell_resync(&mut self, reason: &str) {
        let version = self.room.logic().version().0;
        self.tell_all(&EngineFrame::Resync { version, reason });
    }

    /// Those whose messages are lost by a rewind are told so.
    pub(super) fn tell_undone(&mut self, lost: &[Lost]) {
        let (tick, error) = (self.room.tick().0, InputError::Undone);
        let text = "the version that took it was taken back, and the one that runs now does not take it";
        for Lost { player, number, .. } in lost.iter().filter(|lost| lost.number > 0) {
            let number = *number;
            self.players.tell(&mut self.outlet, *player, tick, &EngineFrame::Error { error, number, text });
        }
    }

    /// Everybody is told how things stand: the notice that is given out, or else that the room is frozen.
    pub(super) fn tell_notice(&mut self) {
        let notice = self.players.house.notice.lock().clone().or_else(|| self.frozen_notice());
        let (severity, text) = match notice {
            Some(Notice { severity, text, .. }) => (severity, text),
            None => (Severity::Over, Arc::from("")),
        };
        self.tell_all(&EngineFrame::Notice { severity, text: &text });
    }

    fn frozen_notice(&self) -> Option<Notice> {
        let fault = self.players.house.told(self.room.frozen()?);
        let text = format!("the room is frozen: {fault}; load a fix").into();
        Some(Notice { severity: Severity::Error, text, until_loaded: false })
    }

    fn tell_all(&mut self, frame: &EngineFrame<'_>) {
        let tick = self.room.tick().0;
        self.players.tell_all(&mut self.outlet, tick, frame);
    }

    fn stalled(&self) -> RoomError {
        let room = self.room.name().to_owned();
        match self.room.frozen() {
            Some(fault) => RoomError::Frozen { room, fault: self.players.house.told(fault) },
            None => RoomError::Swapping { room },
        }
    }

    pub(super) fn error_of(&mut self, error: StepError) -> RoomError {
        match error {
            StepError::Fault(fault) => {
                self.note(&fault);
                RoomError::Fault(self.players.house.told(&fault))
            }
            StepError::Frozen(fault) => {
                RoomError::Frozen { room: self.room.name().to_owned(), fault: self.players.house.told(&fault) }
            }
            error => RoomError::Step(error),
        }
    }
}

/// The reason of a refusal is the logic's own words.
fn refusal_text(error: &RoomError) -> String {
    match error {
        RoomError::Step(StepError::Refused(reason)) => reason.clone(),
        error => error.to_string(),
    }
}
