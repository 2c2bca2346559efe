//! What a load does to the tables of rooms: planned and tried elsewhere before anything of the version is in this process, carried
//! out in the background while the rooms play on.

use std::collections::BTreeMap;
use std::sync::Arc;

use logic_api::Manifest;
use logic_api::changes::Changes;
use logic_api::schema::Schema;
use room::plan::{Cancel, Plan, PlanReport, Rewrite, RewriteError};
use room::{LogicVersion, Room, Stamp, World};
use tokio::time::timeout;

use super::{Loads, Planned, Refused, Running, version_name};
use crate::allowance::Allowance;
use crate::http::{Kind, Refusal};
use crate::loader::load::Summary;
use crate::loader::name::PluginName;
use crate::loader::versions::Mapped;
use crate::rooms::{Rooms, TableRewrites};
use crate::status::{VersionName, VersionPlan};

/// How often what has changed meanwhile is rewritten before the swap: each time there is less of it.
const ROUNDS_MAX: usize = 3;
/// So few pages are left to the swap.
const PAGES_LEFT: usize = 16;

/// A copy of a room, and when it was made.
pub(super) type Twin = (Room, Stamp);

/// Refuses a version to whose tables those of a room cannot be carried over.
pub(super) fn check(
    rooms: &Rooms,
    manifest: &Manifest,
    changes: &Changes,
    drops: &[String],
    planned: &Planned,
) -> Result<(), Refused> {
    let to = VersionName { version: manifest.version.0, name: manifest.name.clone() };
    let refuse = |refusal: Refusal| Refused { refusal, to: Some(to.clone()) };
    let new = Arc::new(manifest.schema.clone());
    let mut plans = Plans::to(&new, changes, drops);
    rooms.logics().iter().for_each(|(_, logic)| plans.add(logic, None));
    planned.set(plans.told());
    let mut lines: Vec<String> = Vec::new();
    let mut from = None;
    for OfVersion { logic, plan, .. } in plans.all.iter().filter(|of| !of.plan.refusals().is_empty()) {
        lines.extend(plan.refusals().iter().filter(|line| !lines.contains(line)).cloned().collect::<Vec<_>>());
        from.get_or_insert(logic);
    }
    if let Some(from) = from {
        let reason = format!(
            "the tables of {} {}, which is running, cannot be carried over to {} {}; what may be lost can be acknowledged with \
             &drop=NAME",
            from.name(),
            from.version(),
            manifest.name,
            manifest.version
        );
        return Err(refuse(Refusal::new(Kind::Conflict, "schema-differs", reason).with_details(lines)));
    }
    if let Some(drop) = plans.unused_drops().first() {
        let reason = format!("nothing called {drop:?} is lost by this load; leave drop={drop} out");
        return Err(refuse(Refusal::new(Kind::BadRequest, "drop-unknown", reason)));
    }
    Ok(())
}

/// The plans from the versions that run in rooms to another one, each made once.
struct Plans<'a> {
    new: &'a Arc<Schema>,
    changes: &'a Changes,
    drops: &'a [String],
    all: Vec<OfVersion>,
}

struct OfVersion {
    logic: Arc<LogicVersion>,
    plan: Plan,
    report: PlanReport,
}

impl<'a> Plans<'a> {
    fn to(new: &'a Arc<Schema>, changes: &'a Changes, drops: &'a [String]) -> Self {
        Self { new, changes, drops, all: Vec::new() }
    }

    /// For a room that runs this version, beside those that do so too.
    fn add(&mut self, logic: &Arc<LogicVersion>, world: Option<&World>) {
        match self.all.iter_mut().find(|of| is_same(&of.logic, logic)) {
            Some(OfVersion { plan, report, .. }) => {
                if let Some(world) = world {
                    report.add(&plan.report(Some(world)));
                }
            }
            None => {
                let plan = Plan::new(logic.schema(), logic.changes(), self.new, self.changes, self.drops);
                let report = plan.report(world);
                self.all.push(OfVersion { logic: Arc::clone(logic), plan, report });
            }
        }
    }

    fn has_work(&self) -> bool {
        self.all.iter().any(|of| !of.plan.is_nothing())
    }

    /// What may be lost, and no plan loses: what one has no use for may be for another.
    fn unused_drops(&self) -> Vec<String> {
        let is_unused = |drop: &&String| self.all.iter().all(|of| of.plan.unused_drops().contains(drop));
        self.drops.iter().filter(is_unused).cloned().collect()
    }

    /// What there is to say of the tables: the plans that change some. Only the first tells of drops that are unused, and is there
    /// for that alone where nothing else is.
    fn told(&self) -> Vec<VersionPlan> {
        let unused = self.unused_drops();
        let is_told = |(number, of): &(usize, &OfVersion)| {
            !of.plan.is_nothing() || (*number == 0 && !unused.is_empty() && !self.has_work())
        };
        let told = self.all.iter().enumerate().filter(is_told).enumerate().map(|(place, (_, of))| {
            let unused_drops = if place == 0 { unused.clone() } else { Vec::new() };
            VersionPlan { from: version_name(&of.logic), plan: PlanReport { unused_drops, ..of.report.clone() } }
        });
        told.collect()
    }
}

/// Rooms whose code is gone have a version each, made of what their snapshots say.
fn is_same(one: &Arc<LogicVersion>, other: &Arc<LogicVersion>) -> bool {
    let says_the_same = || {
        version_name(one) == version_name(other) && one.schema() == other.schema() && one.changes() == other.changes()
    };
    Arc::ptr_eq(one, other) || says_the_same()
}

impl Loads {
    /// What a load of this plugin would do to the tables.
    ///
    /// # Errors
    /// A [`Refusal`] if the plugin cannot be read.
    pub async fn plan(&self, name: PluginName, drops: Vec<String>) -> Result<Vec<VersionPlan>, Refusal> {
        let loader = Arc::clone(&self.loader);
        let looked = tokio::task::spawn_blocking(move || loader.look(&name)).await;
        let (_, Summary { manifest, changes, .. }) = looked.unwrap_or_else(|error| {
            tracing::error!(%error, "a plan ended without a result");
            Err(Refusal::new(Kind::Internal, "load-broken", "the plan ended without a result; see the log"))
        })?;
        let new = Arc::new(manifest.schema);
        let mut plans = Plans::to(&new, &changes, &drops);
        self.rooms.twins().await?.iter().for_each(|(room, _)| plans.add(room.logic(), Some(room.world())));
        Ok(plans.told())
    }

    /// Rewrites the tables of every room, away from the threads that answer: all of them first, then what has changed since.
    pub(super) async fn prepare_tables(
        &self,
        to: &Arc<Mapped>,
        drops: &Arc<[String]>,
        planned: &Planned,
    ) -> Result<TableRewrites, Refusal> {
        let allowance = self.rewriting.allow(self.limits.rewrite_time_max);
        let mut rewrites = BTreeMap::new();
        for round in 0..ROUNDS_MAX {
            let twins = self.rooms.twins().await?;
            if round == 0 {
                let mut plans = Plans::to(to.logic.schema(), to.logic.changes(), drops);
                twins.iter().for_each(|(room, _)| plans.add(room.logic(), Some(room.world())));
                planned.set(plans.told());
                if !plans.has_work() {
                    return Ok(TableRewrites::default());
                }
            }
            let cancel = Cancel::default();
            let (to, drops, bytes_max) = (Arc::clone(to), Arc::clone(drops), self.limits.rewrite_bytes_max);
            let rewrite = {
                let cancel = cancel.clone();
                move || update(twins, rewrites, &to, &drops, bytes_max, &cancel)
            };
            let updated = self.on_thread(&allowance, rewrite).await?;
            let Some(updated) = updated else {
                cancel.cancel();
                let seconds = self.limits.rewrite_time_max.as_secs_f32();
                let reason = format!(
                    "the tables were not rewritten within {seconds} s (rewrite_timeout_ms): a migration does not return, or there \
                     is too much of them"
                );
                return Err(Refusal::new(Kind::Unprocessable, "rewrite-late", reason));
            };
            let (updated, pages) = updated.map_err(|(room, error)| refused(&room, &error))?;
            rewrites = updated;
            if pages <= PAGES_LEFT {
                break;
            }
        }
        Ok(TableRewrites::new(Arc::clone(drops), rewrites))
    }

    /// Rewrites away from the rooms. `None` if that has not returned in the time allowed: a thread cannot be stopped, and is left behind with
    /// what it has.
    async fn on_thread(
        &self,
        allowance: &Allowance,
        work: impl FnOnce() -> Updated + Send + 'static,
    ) -> Result<Option<Updated>, Refusal> {
        // Loads come one after the other: one that runs now was left behind. Each more would cost another core.
        if self.metrics.rewrites.get() > 0 {
            let reason = "a migration of an earlier version has not returned and holds a core; nothing is loaded until it does: \
                          restart the engine";
            return Err(Refusal::new(Kind::Unavailable, "rewrite-stuck", reason));
        }
        let running = Running::new(&self.metrics.rewrites);
        let mut outcome = self.rewriting.run(move || {
            // What the logic logs has no place yet: the rooms go on on the version from before.
            let _silence = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::default());
            let outcome = work();
            // Before the outcome is known: the next load must not find this one still counted.
            drop(running);
            outcome
        });
        let outcome = loop {
            match timeout(allowance.left(), &mut outcome).await {
                Ok(outcome) => break outcome,
                Err(_) if allowance.left().is_zero() => return Ok(None),
                // It has waited for a core meanwhile.
                Err(_) => {}
            }
        };
        outcome.map(Some).map_err(|_| {
            let reason = "the rewriting of the tables ended without a result; see the log";
            Refusal::new(Kind::Internal, "rewrite-broken", reason)
        })
    }
}

/// The rewrites of all rooms, brought up to date; and how many pages that took in the room that took most.
type Updated = Result<(BTreeMap<String, Rewrite>, usize), (String, RewriteError)>;

fn update(
    twins: Vec<Twin>,
    mut known: BTreeMap<String, Rewrite>,
    to: &Arc<Mapped>,
    drops: &Arc<[String]>,
    bytes_max: usize,
    cancel: &Cancel,
) -> Updated {
    let mut rewrites = BTreeMap::new();
    let mut pages_max = 0;
    for (mut room, stamp) in twins {
        let name = room.name().to_owned();
        // A room that was closed meanwhile and created again has the name of the one before, and nothing else of it.
        let mut rewrite = match known.remove(&name).filter(|known| known.is_of(room.world())) {
            Some(rewrite) => rewrite,
            None => {
                let plan = room.plan_swap(&to.logic, drops);
                if plan.is_nothing() || !plan.refusals().is_empty() {
                    continue;
                }
                Rewrite::new(Arc::new(plan), Arc::clone(&to.logic), Arc::clone(drops), stamp.seed, bytes_max)
            }
        };
        let before = rewrite.pages_done();
        rewrite.update(&mut room.fork_world(), cancel).map_err(|error| (name.clone(), error))?;
        pages_max = pages_max.max(rewrite.pages_done() - before);
        rewrites.insert(name, rewrite);
    }
    Ok((rewrites, pages_max))
}

pub(super) fn refused(room: &str, error: &RewriteError) -> Refusal {
    let in_room = format!("in the room {room}: {error}");
    match error {
        RewriteError::Unfit(_) => unfit(in_room),
        RewriteError::Fault { .. } => Refusal::new(Kind::Unprocessable, "migration-failed", in_room),
        RewriteError::Memory { .. } => {
            Refusal::new(Kind::Unprocessable, "rewrite-large", format!("{in_room} (rewrite_bytes_max)"))
        }
        RewriteError::Table { .. } => Refusal::new(Kind::Unprocessable, "table-large", in_room),
        RewriteError::Texts { .. } | RewriteError::TextPages { .. } => {
            Refusal::new(Kind::Unprocessable, "texts-large", in_room)
        }
        RewriteError::Cancelled => Refusal::new(Kind::Unprocessable, "rewrite-late", in_room),
    }
}

pub(super) fn fault(what: String, location: &str) -> Refusal {
    let reason = if location.is_empty() { what } else { format!("{what}, {location}") };
    Refusal::new(Kind::Unprocessable, "migration-failed", reason)
}

pub(super) fn unfit(line: String) -> Refusal {
    let reason = "a row has no place in the tables of the new version";
    Refusal::new(Kind::Conflict, "row-unfit", reason).with_details([line])
}

#[cfg(test)]
#[expect(dead_code, reason = "what counts is what the tables are")]
mod tests {
    use super::*;
    use logic_api::prelude::*;

    mod one {
        use super::*;

        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct Mark {
            number: u32,
        }

        #[derive(Debug, World)]
        pub(super) struct Game {
            marks: Table<Mark>,
            orbs: Table<Mark>,
        }

        #[logic(linked, version = 1)]
        impl Logic for Game {}
    }

    mod two {
        use super::*;

        #[derive(Debug, Row)]
        #[repr(C)]
        pub(super) struct Mark {
            number: u32,
            hp: u8,
        }

        #[derive(Debug, World)]
        pub(super) struct Game {
            marks: Table<Mark>,
        }

        #[logic(linked, version = 2)]
        impl Logic for Game {}
    }

    mod three {
        use super::*;

        #[derive(Debug, World)]
        pub(super) struct Game {
            marks: Table<one::Mark>,
        }

        #[logic(linked, version = 3)]
        impl Logic for Game {}
    }

    /// What is told of drops, for each version that has a plan, where rooms on these go to the third.
    fn unused(logics: &[Arc<LogicVersion>], drops: &[&str]) -> Vec<(u32, Vec<String>)> {
        let to = LogicVersion::linked::<three::Game>().unwrap();
        let drops: Vec<String> = drops.iter().map(|drop| (*drop).to_owned()).collect();
        let mut plans = Plans::to(to.schema(), to.changes(), &drops);
        logics.iter().for_each(|logic| plans.add(logic, None));
        plans.told().into_iter().map(|told| (told.from.version, told.plan.unused_drops)).collect()
    }

    #[test]
    fn a_drop_is_unused_if_no_room_has_a_use_for_it_and_told_once() {
        let [one, two, three] = [
            LogicVersion::linked::<one::Game>().unwrap(),
            LogicVersion::linked::<two::Game>().unwrap(),
            LogicVersion::linked::<three::Game>().unwrap(),
        ];
        let (all, some) = (&[one.clone(), two.clone(), one, three.clone()], &[three, two]);
        let none = Vec::new;
        assert_eq!(unused(all, &["orbs", "Mark.hp"]), [(1, none()), (2, none())]);
        assert_eq!(unused(all, &["orbs", "typo", "Mark.hp"]), [(1, vec!["typo".into()]), (2, none())]);
        assert_eq!(unused(some, &["orbs", "Mark.hp"]), [(2, vec!["orbs".into()])]);
        // Also where no table changes, and only then is there a plan that does nothing.
        assert_eq!(unused(&all[3..], &["typo"]), [(3, vec!["typo".into()])]);
        assert_eq!(unused(&all[3..], &[]), []);
    }

    #[track_caller]
    fn check(error: &RewriteError, code: &str, end: &str) {
        let refusal = refused("main", error);
        assert_eq!((refusal.kind(), refusal.code()), (Kind::Unprocessable, code));
        let reason = refusal.reason();
        assert!(reason.starts_with("in the room main: ") && reason.ends_with(end), "{reason}");
    }

    /// What no setting can help is not told as one.
    #[test]
    fn a_limit_is_told_as_what_it_is() {
        check(
            &RewriteError::Memory { bytes_max: 10 },
            "rewrite-large",
            "the 10 bytes that they may (rewrite_bytes_max)",
        );
        let table = RewriteError::Table { table: "orbs".into(), bytes: 30, bytes_max: 20 };
        check(&table, "table-large", "make its rows shorter, or put some of its columns into a table of their own");
        let texts = RewriteError::Texts { bytes: 30, bytes_max: 20 };
        check(&texts, "texts-large", "those of a room may take 20: make shorter ones, or remove some before");
    }
}
