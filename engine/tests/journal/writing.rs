//! Who writes when, on a log that does as it is told: a room itself where nothing stands against it, else the journal's thread; and
//! whoever it is, outputs leave in order, and none after a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::ThreadId;
use std::time::Duration;

use engine::journal::batch::Batch;
use engine::journal::frame::Position;
use engine::journal::log::{Log, LogError, SyncTask, Task};
use engine::journal::segments::Segments;
use engine::journal::writer::{WRITTEN_HERE_BYTES_MAX, Writer};
use engine::journal::{Durability, Journal, LogId};
use logic_api::Rng;
use parking_lot::Mutex;

use crate::disk::MemoryDisk;
use crate::support::{ON_PURPOSE, batch, folder, records};

/// Nothing is synced by itself while a test runs.
const LATER: Durability = Durability::Within(Duration::from_secs(3600));

/// What happened, and on which thread.
type Story = Arc<Mutex<Vec<(&'static str, ThreadId)>>>;

#[derive(Debug, Default)]
struct ToldLog {
    story: Story,
    seq: u64,
    synced: u64,
    is_full: Arc<AtomicBool>,
    fails: Arc<AtomicBool>,
    sync: Option<SlowSync>,
    /// Told on purpose when the log is asked for what is to be synced.
    panics: bool,
    /// Gone with it.
    _kept: Arc<()>,
}

/// A sync that tells that it has begun, and ends when it is told to, or when nobody can tell it.
#[derive(Debug, Clone)]
struct SlowSync {
    begun: Sender<()>,
    end: Arc<Mutex<Receiver<()>>>,
    /// The first one, and no other: a lost write is told once.
    fails: Arc<AtomicBool>,
}

impl SlowSync {
    /// With what tells that one has begun, and what lets it end.
    fn new(fails: bool) -> (SlowSync, Receiver<()>, Sender<()>) {
        let ((begun, begins), (ends, end)) = (channel(), channel());
        let fails = Arc::new(AtomicBool::new(fails));
        (SlowSync { begun, end: Arc::new(Mutex::new(end)), fails }, begins, ends)
    }
}

fn failed(what: &'static str) -> LogError {
    LogError { what, path: "it".into(), source: std::io::Error::from_raw_os_error(5) }
}

fn tell(story: &Story, what: &'static str) {
    story.lock().push((what, std::thread::current().id()));
}

impl Log for ToldLog {
    fn append(&mut self, batch: &mut Batch) {
        assert!(!std::mem::take(batch).is_empty());
        self.seq += 1;
    }

    fn write(&mut self) -> Result<(), LogError> {
        tell(&self.story, "write");
        if self.fails.load(Ordering::SeqCst) { Err(failed("writing to")) } else { Ok(()) }
    }

    fn is_full(&self) -> bool {
        self.is_full.load(Ordering::SeqCst)
    }

    fn position(&self) -> Position {
        Position { seq: self.seq, hash: 0 }
    }

    fn sync_task(&mut self) -> Option<SyncTask> {
        assert!(!self.panics, "{ON_PURPOSE}: no task");
        let (seq, sync) = (self.seq, self.sync.clone());
        let run = move || {
            let Some(SlowSync { begun, end, fails }) = sync else { return Ok(()) };
            let _ = begun.send(());
            let _ = end.lock().recv();
            if fails.swap(false, Ordering::SeqCst) { Err(failed("syncing")) } else { Ok(()) }
        };
        (seq > self.synced).then(|| SyncTask { seq, run: Box::new(run) })
    }

    fn synced(&mut self, seq: u64) {
        self.synced = seq;
    }

    fn divide(&mut self) -> Result<(), LogError> {
        tell(&self.story, "divide");
        self.is_full.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn forget(&mut self, _upto: Position) -> Result<(), LogError> {
        Ok(())
    }

    fn remove(self: Box<Self>) -> Result<Task, LogError> {
        Ok(Box::new(|| Ok(())))
    }
}

/// A journal that is told of failures by `told`, and a room whose log is open.
fn start(durability: Durability, log: ToldLog) -> (Journal, Writer, Receiver<String>) {
    let (tell, told) = channel();
    let journal = Journal::start(durability, move |error| tell.send(error.to_string()).unwrap()).unwrap();
    let writer = journal.add(LogId(1), Box::new(move || Ok(Box::new(log))));
    assert!(journal.written());
    (journal, writer, told)
}

fn commit(writer: &Writer, story: &Story) {
    let story = Arc::clone(story);
    writer.commit(&mut batch(&[(6, 1, vec![1])]), move || tell(&story, "release"));
}

/// What happened so far, and whether this thread did it.
fn told(story: &Story) -> Vec<(&'static str, bool)> {
    let here = std::thread::current().id();
    story.lock().drain(..).map(|(what, on)| (what, on == here)).collect()
}

#[test]
fn a_room_writes_by_itself_and_lets_go_at_once() {
    let story = Story::default();
    let (journal, writer, _) = start(LATER, ToldLog { story: story.clone(), ..ToldLog::default() });
    for _ in 0..3 {
        commit(&writer, &story);
        assert_eq!(told(&story), [("write", true), ("release", true)]);
    }
    // Nothing to write, and nothing to wait for.
    let on_release = story.clone();
    writer.commit(&mut Batch::default(), move || tell(&on_release, "release"));
    assert_eq!(told(&story), [("release", true)]);
    journal.end();
}

#[test]
fn outputs_that_wait_for_the_disk_are_let_go_by_the_journal() {
    let story = Story::default();
    let (journal, writer, _) = start(Durability::Tick, ToldLog { story: story.clone(), ..ToldLog::default() });
    commit(&writer, &story);
    assert!(journal.written());
    assert_eq!(told(&story), [("write", false), ("release", false)]);
    journal.end();
}

/// A long request's body must not hold up the other rooms of the thread.
#[test]
fn what_is_much_at_once_is_for_the_journals_thread() {
    let story = Story::default();
    let (journal, writer, _) = start(LATER, ToldLog { story: story.clone(), ..ToldLog::default() });
    for (bytes, is_here) in [(WRITTEN_HERE_BYTES_MAX, false), (WRITTEN_HERE_BYTES_MAX - 100, true)] {
        let on_release = story.clone();
        let mut batch = batch(&[(6, 1, vec![1; bytes as usize])]);
        writer.commit(&mut batch, move || tell(&on_release, "release"));
        assert!(journal.written());
        assert_eq!(told(&story), [("write", is_here), ("release", is_here)]);
    }
    journal.end();
}

#[test]
fn a_room_does_not_write_to_what_is_being_synced() {
    let story = Story::default();
    let (sync, begun, end) = SlowSync::new(false);
    let (journal, writer, _) = start(LATER, ToldLog { story: story.clone(), sync: Some(sync), ..ToldLog::default() });
    commit(&writer, &story);
    assert_eq!(told(&story), [("write", true), ("release", true)]);
    let (synced, is_synced) = channel();
    journal.flush(Box::new(move || synced.send(()).unwrap()));
    begun.recv().unwrap();
    // By the journal's thread, and without waiting for the end of the sync.
    commit(&writer, &story);
    assert!(journal.written());
    assert_eq!(told(&story), [("write", false), ("release", false)]);
    assert!(is_synced.try_recv().is_err());
    end.send(()).unwrap();
    is_synced.recv().unwrap();
    assert!(journal.written());
    commit(&writer, &story);
    assert_eq!(told(&story), [("write", true), ("release", true)]);
    // Let the last sync end by itself.
    drop(end);
    journal.end();
}

#[test]
fn what_ends_a_segment_is_for_the_journals_thread() {
    let (story, is_full) = (Story::default(), Arc::new(AtomicBool::new(true)));
    let log = ToldLog { story: story.clone(), is_full: is_full.clone(), ..ToldLog::default() };
    let (journal, writer, _) = start(LATER, log);
    commit(&writer, &story);
    assert!(journal.written());
    assert_eq!(told(&story), [("write", false), ("divide", false), ("release", false)]);
    // What is ordered while a division waits comes after it.
    let (in_division, is_over) = channel::<()>();
    journal.run(Box::new(move || {
        let _ = is_over.recv();
        Ok(())
    }));
    let on_division = story.clone();
    writer.divide(move |_| tell(&on_division, "position"));
    commit(&writer, &story);
    assert_eq!(told(&story), []);
    drop(in_division);
    assert!(journal.written());
    assert_eq!(told(&story), [("divide", false), ("write", false), ("position", false), ("release", false)]);
    commit(&writer, &story);
    assert_eq!(told(&story), [("write", true), ("release", true)]);
    journal.end();
}

#[test]
fn after_a_write_of_a_room_that_failed_no_room_lets_go_of_anything() {
    let (story, fails) = (Story::default(), Arc::new(AtomicBool::new(true)));
    let kept = Arc::new(());
    let log = ToldLog { story: story.clone(), fails, _kept: kept.clone(), ..ToldLog::default() };
    let (journal, writer, failure) = start(LATER, log);
    let other = {
        let log = ToldLog { story: story.clone(), ..ToldLog::default() };
        journal.add(LogId(2), Box::new(move || Ok(Box::new(log))))
    };
    assert!(journal.written());
    commit(&writer, &story);
    assert_eq!(Arc::strong_count(&kept), 1, "the journal's thread may still ask the log for what is to be synced");
    commit(&other, &story);
    other.commit(&mut Batch::default(), || panic!("let go of"));
    assert_eq!(told(&story), [("write", true)]);
    assert!(failure.recv().unwrap().starts_with("writing to it failed: "));
    assert!(!journal.written() && !journal.flushed());
    journal.end();
}

/// Of two syncs of a file only one is told of a write that was lost: nobody is to conclude anything from the other one.
#[test]
fn what_syncs_a_file_again_waits_for_the_sync_under_way() {
    let ends: [fn(Journal, Writer); 2] = [
        |_, writer| writer.divide(|_| panic!("divided")),
        // The last handles: the journal is to end.
        |journal, writer| drop((journal, writer)),
    ];
    for end_of in ends {
        let story = Story::default();
        let (sync, begun, end) = SlowSync::new(true);
        let log = ToldLog { story: story.clone(), sync: Some(sync), ..ToldLog::default() };
        let (journal, writer, failure) = start(LATER, log);
        commit(&writer, &story);
        assert_eq!(told(&story), [("write", true), ("release", true)]);
        let (flushed, is_flushed) = channel();
        journal.flush(Box::new(move || flushed.send(()).unwrap()));
        begun.recv().unwrap();
        end_of(journal, writer);
        drop(end);
        assert!(failure.recv().unwrap().starts_with("syncing it failed: "));
        assert!(is_flushed.recv().is_err());
        assert_eq!(told(&story), []);
    }
}

/// Or rooms would wait for it for ever.
#[test]
fn a_panic_of_the_journals_thread_is_told() {
    let story = Story::default();
    let (journal, writer, failure) = start(LATER, ToldLog { story: story.clone(), panics: true, ..ToldLog::default() });
    commit(&writer, &story);
    assert!(!journal.flushed());
    assert_eq!(failure.recv().unwrap(), "running the thread journal failed: it panicked: on purpose: no task");
    writer.commit(&mut Batch::default(), || panic!("let go of"));
    journal.end();
}

/// Whoever writes a batch, room or journal, outputs of a room go in the order of its batches.
#[test]
fn releases_keep_their_order() {
    for durability in [Durability::Tick, Durability::Within(Duration::from_millis(1)), LATER] {
        let (disk, mut rng) = (MemoryDisk::default(), Rng::new(1));
        let journal = Journal::start(durability, |error| panic!("{error}")).unwrap();
        let rooms: Vec<(Writer, Arc<Mutex<Vec<u64>>>)> = (0..3)
            .map(|room| {
                let path = folder().with_file_name(format!("room{room}"));
                let log = Segments::create(Arc::new(disk.clone()), &path, "room", [room, 1], 3000).unwrap();
                (journal.add(LogId(room), Box::new(move || Ok(Box::new(log)))), Arc::default())
            })
            .collect();
        for number in 0..500u64 {
            for (writer, order) in rooms.iter().filter(|_| rng.chance(0.7)).collect::<Vec<_>>() {
                let order = Arc::clone(order);
                let mut batch = batch(&records(&mut Rng::new(number), number % 3, 50));
                writer.commit(&mut batch, move || order.lock().push(number));
                if number % 50 == 0 {
                    writer.divide(|_| {});
                }
            }
        }
        assert!(journal.flushed());
        journal.end();
        for (_, order) in rooms {
            let order = order.lock();
            assert!(order.len() > 300 && order.is_sorted(), "{durability:?}");
        }
    }
}
