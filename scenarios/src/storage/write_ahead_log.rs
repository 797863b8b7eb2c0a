//! # Write-ahead log: crash, torn write, recovery
//!
//! A key-value server acknowledges 1,000 writes a second. Each is appended to a log, so that a restart can replay it. The
//! operating system writes its pages back once a second, so each answer is a promise that the disk has not heard of. At
//! 5.7 s the power fails, for one second.
//!
//! **What breaks.** Without a sync, what was acknowledged since 5.0 s is gone. With a sync before each answer nothing is
//! lost, but a sync takes 5 ms, so there are at most 200 answers a second, and the queue grows. And the last record was
//! on its way: some of its sectors are on the disk, the others are zeros. Recovery that trusts the record's length takes the
//! half for the whole.
//!
//! **What fixes it.** Group commit: one sync for all who wait; who comes while it runs shares the next one. And a checksum
//! in each record: replay stops at the first that does not fit, which nobody was told of. The code is `DurableLog`, in
//! `scenarios/src/cast/durable_log.rs`; the cast's database writes the same log.
//!
//! ## Predict
//! - How many acknowledged writes does no-sync lose on average? About 700: 0.7 s at 1,000 a second.
//! - fsync takes 5 ms: is 1,000 durable writes a second possible on one disk? Yes: five share each sync.
//!
//! ## Watch
//! - `log.unsynced`: acknowledged or not, what a power failure would take, in bytes.
//! - `log.batch`: how many answers each sync brings.
//! - `log.replayed` and `log.truncated`: records that replay took, and what it cut off.
//! - A `put` trace: `durable` is the wait for the sync of others, and one's own; `turn` the queue of sync-each.
//!
//! ## Try next
//! Let one fsync fail and be retried (a disk fault, `fail-sync`). Is what came before it safe?

use crate::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct WriteAheadLog {
    /// What happens before a write is acknowledged: the lesson.
    pub sync: LogSync,
    /// Whether replay compares each record with its checksum.
    pub checksum: bool,
    /// Writes per second, of all four clients together.
    #[schemars(range(min = 1, max = 5_000), extend("x-unit" = "1/s"))]
    pub rate: f64,
    /// How long the disk needs for a sync.
    #[schemars(extend("x-range" = ["10us", "1s"]))]
    pub fsync: Duration,
    /// Bytes of a value.
    #[schemars(range(min = 8, max = 4_000), extend("x-unit" = "By"))]
    pub value: usize,
}

const KEPT: &str = "no acknowledged write is lost";
const WHOLE: &str = "what is read back was written";
const QUICK: &str = "writes are answered within 100 ms";
const DURABLE: &str = "what was acknowledged is there after a power failure";
const TRUE: &str = "what is read was written, to the last byte";

#[derive(Clone, Serialize, Deserialize)]
enum Ask {
    Put { key: u64, value: String },
    Get { key: u64 },
}
impl Request for Ask {
    type Response = Option<String>;
}

/// The keys of a client's writes, whether each was acknowledged, and its span.
type Writes = Rc<RefCell<BTreeMap<u64, (bool, SpanIndex)>>>;

impl WriteAheadLog {
    async fn store(self, node: Node) {
        // A sync that fails is tried again: "Try next" asks whether that is safe.
        let log = LogFile::new("log").sync(self.sync).checksums(self.checksum).retry_failed_syncs();
        let (log, found) = log.preallocated(32 << 20).open::<(u64, String)>(&node).await;
        let table: RefCell<BTreeMap<_, _>> = RefCell::new(found.into_iter().collect());
        node.serve(async move |_: Call, ask: Ask| match ask {
            Ask::Get { key } => table.borrow().get(&key).cloned(),
            Ask::Put { key, value } => {
                let record = (key, value);
                log.append(&record).await;
                table.borrow_mut().insert(record.0, record.1)
            }
        });
        std::future::pending::<()>().await;
    }

    /// The value that belongs to a key: as long as all others, and never a zero byte.
    fn value_of(self, key: u64) -> String {
        format!("{}{key:08}", "#".repeat(self.value.saturating_sub(8)))
    }

    async fn put(self, node: &Node, store: NodeId, writes: &Writes, key: u64) -> Result<(), Failure> {
        let put = node.current_span();
        writes.borrow_mut().insert(key, (false, put));
        node.call(store, &Ask::Put { key, value: self.value_of(key) }).await?;
        writes.borrow_mut().insert(key, (true, put));
        Ok(())
    }

    /// A second and a half after the restart: reads back what was written before the power failure.
    async fn read_back(self, node: Node, store: NodeId, writes: Writes) {
        let (lost, foreign) = (node.counter("read_back.lost"), node.counter("read_back.foreign"));
        let unacknowledged = node.counter("read_back.unacknowledged");
        node.sleep(ms(5_700)).await;
        let before = writes.borrow().len();
        node.sleep(ms(2_500)).await;
        let writes = writes.borrow().clone();
        // What is wrong with a write is told in its own trace.
        let tell = |put, found: &str, what: &str| {
            let span = node.span_in(put, "read_back").attribute("found", found).start();
            node.inside(span, || node.fail(what));
            node.end_span(span);
        };
        for (key, (acknowledged, put)) in writes.into_iter().take(before) {
            let found = node.call(store, &Ask::Get { key }).await.expect("the store is up");
            let is_true = found.as_ref().is_none_or(|value| *value == self.value_of(key));
            node.always(DURABLE, found.is_some() || !acknowledged, || format!("{key} is lost"));
            node.always(TRUE, is_true, || format!("{key} has a value that nobody wrote"));
            match found {
                None if acknowledged => {
                    lost.increment();
                    tell(put, "nothing", "acknowledged, and lost");
                }
                Some(_) if !is_true => {
                    foreign.increment();
                    tell(put, "something else", "not what was written");
                }
                Some(_) if !acknowledged => unacknowledged.increment(),
                _ => {}
            }
        }
    }
}

impl Lab for WriteAheadLog {
    const ABOUT: About = About { weeks: &[25], until: secs(13), ..About::NONE };

    fn variants() -> Variants<Self> {
        let never = Self { sync: LogSync::Never, checksum: true, rate: 1_000.0, fsync: ms(5), value: 1_500 };
        let group = Self { sync: LogSync::Group, ..never };
        let torn = misses_in(1, 5, WHOLE).violates_in(1, 5, TRUE);
        Variants::broken("no-sync", never, misses(KEPT).violates(DURABLE))
            .fixed("sync-each", Self { sync: LogSync::Each, ..never })
            .also_broken("no-checksum", Self { checksum: false, ..group }, torn)
            .fixed("group-commit", group)
    }

    fn faults(self) -> FaultPlan {
        let failure = Fault::at(ms(5_700), "power failure", FaultKind::PowerFailure);
        FaultPlan::none().with(failure.on("store").lasting(secs(1)))
    }

    fn build(self, sim: &mut Sim) {
        let (fsync, write_back, crash) = (self.fsync, Some(secs(1)), CrashPolicy::TearFirst);
        let disk = DiskSpec { write: us(20), fsync, sector: 512, write_back, crash, ..DiskSpec::default() };
        let store = sim.node(NodeSpec::new("store").disk(disk), async move |node| self.store(node).await);
        let writes = move |node: &Node| {
            let writes = Writes::default();
            node.spawn_detached(self.read_back(node.clone(), store, Rc::clone(&writes)));
            writes
        };
        OpenLoop::poisson(self.rate)
            .run_with(writes, async move |node, writes, put| {
                self.put(node, store, writes, put.key_number).await
            })
            .keys(Keys::each())
            .named("put")
            .until(secs(12))
            .front_ends(4)
            .add_to(sim, "client");
    }

    fn expect() -> Expectations {
        Expectations::new()
            .goal(KEPT, |run| run.count("read_back.lost").equals(0))
            .goal(WHOLE, |run| run.count("read_back.foreign").equals(0))
            // Two syncs and a few hundred microseconds, where they are shared.
            // Asked of all but sync-each, which keeps its promises and cannot keep up.
            .goal_for(["no-sync", "no-checksum", "group-commit"], QUICK, |run| {
                answers(run).between(secs(0), ms(5_700)).p99().at_most(ms(100))
            })
            // Written back at 5.0 s: 0.7 s x 1,000/s = 700 are gone, with a deviation of the square root of that, 26. Of the
            // mean of 16 seeds four standard errors are 4 x 26 / 4.
            .claim("no-sync", "what was not written back is lost", |run| lost(run).at_least(500))
            .average(16, "no-sync", "700 on average", lost, 673..=727)
            // One sync at a time, 5 ms each, and 3 us for the 1,516 bytes.
            .claim("sync-each", "at most 200 answers a second", |run| {
                answers(run).times().most_in(secs(1)).at_most(200)
            })
            // What is answered at time t came at t / 5, and waited for 0.8 t: the last percent before 5 s for 3.96 s.
            .claim("sync-each", "and the queue grows", |run| calm(run).p99().above(secs(3)))
            // On average half of the sync that runs, a whole one of its own, and 1 ms for the way there and back: 8.5 ms.
            .claim(SHARED, "a shared sync costs one and a half", |run| {
                answers(run).started_between(secs(0), secs(5)).mean().within(ms(6)..=ms(10))
            })
            // 1,000/s x 5 ms.
            .claim(SHARED, "five share a sync", |run| {
                run.histogram("log.batch").between(secs(0), secs(5)).mean().within(4..=6)
            })
            // The log is read in 67 ms after the restart (32 MiB at 500 MB/s); whoever comes before is refused.
            .claim("group-commit", "all are answered before and after", |run| {
                let unanswered = |from, to| {
                    let all = run.between(from, to).count("requests.started");
                    (all - answers(run).started_between(from, to).count()).named("unanswered").equals(0)
                };
                unanswered(secs(0), secs(5)).and(unanswered(secs(7), secs(12)))
            })
            .show(KEPT, |run| {
                let lost = run.spans("read_back").with("found", "nothing");
                lost.shown(format!("the first of {} writes that were acknowledged and lost", lost.count()))
            })
            .show(WHOLE, |run| {
                run.spans("read_back")
                    .with("found", "something else")
                    .shown("the write that came back as another")
            })
            .figure("acknowledged and lost", lost)
            .figure("read back, written by nobody", |run| run.count("read_back.foreign"))
            .figure("read back, never acknowledged", |run| run.count("read_back.unacknowledged"))
            .figure("answers a second before the failure", |run| calm(run).count() / secs(5))
            .figure("p99 of a put before the failure", |run| calm(run).p99())
            .figure_for(["sync-each", "no-checksum", "group-commit"], "writes a sync covers", |run| {
                run.histogram("log.batch").mean()
            })
    }
}

const SHARED: [&str; 2] = ["group-commit", "no-checksum"];

fn lost(run: &Run) -> Measure {
    run.count("read_back.lost")
}
fn answers(run: &Run) -> Measures {
    run.histogram("request.ok").named("answers")
}
fn calm(run: &Run) -> Measures {
    answers(run).between(secs(0), secs(5))
}
