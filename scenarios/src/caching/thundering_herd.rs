//! # Thundering herd: the hot key expires and everyone asks the database
//!
//! One hot page is asked for 2,000 times a second and lives in the cache for 4 s. When it expires, each web server that finds
//! nothing asks the database, which needs 50 ms. Until the first answer is back in the cache, every request is a miss: about
//! a hundred identical queries stand before 8 connections. Nothing failed. The herd is a product of rate and query time, and
//! it comes back with every expiry.
//!
//! What helps is that few ask for the page at a time. Each web server can let its misses share one query (`single-flight`).
//! The cache can hand one of all askers a lease, while the others ask again (`lease`) or take the expired page
//! (`stale-while-revalidate`). Or readers renew the page before it expires, each with a chance that grows towards the expiry
//! (`early-refresh`, which is called XFetch). `short-flight` is a pitfall: its flights end when the database has answered,
//! and not when the cache has the page, so an answer of the cache that is under way by then starts a second query. The code
//! of all six is `ReadThrough`, in `scenarios/src/cast/read_through.rs`.
//!
//! ## Predict
//! - When the hot key expires, how many queries reach the database at once? About 105: one, and 2,000 a second for the 52 ms
//!   until the first answer is in the cache.
//! - With early refresh, how long before the expiry does the first refresh start? About 270 ms on average: the cost of 52 ms
//!   times (ln(2,000 x 0.052) + 0.58).
//!
//! ## Watch
//! - `db.active` and `db.queue`: what the database works on, and what waits for one of its connections
//! - `cache.misses`, second by second
//! - the slowest `GET /hot` trace: under `db.Execute`, the time in `db.queue` is the wait for a connection
//!
//! ## Try next
//! - Halve the ttl (`--set ttl=2s`): does the herd shrink?
//! - Then `--set keys=100`, all filled together, and with it `--set jitter=0.5`: which herd does it disperse, and which not?

use crate::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct ThunderingHerd {
    /// Requests per second, over all web servers and pages.
    #[schemars(range(min = 1, max = 10_000), extend("x-unit" = "1/s"))]
    pub rate: f64,
    /// How long a cached page lives.
    #[schemars(extend("x-range" = ["100ms", "1min"]))]
    pub ttl: Duration,
    /// How long the database needs for one query.
    #[schemars(extend("x-range" = ["1ms", "1s"]))]
    pub query: Duration,
    /// How a miss is filled: the lesson.
    pub fill: Fill,
    /// How many pages there are, all equally hot and all in the cache from the start.
    #[schemars(range(min = 1, max = 10_000))]
    pub keys: u64,
    /// By which part of the ttl, at most and by chance, a page lives shorter.
    #[schemars(range(min = 0, max = 1))]
    pub jitter: f64,
}

const FEW: &str = "few queries per expiry";
const FAST: &str = "pages stay fast when the key expires";
const SERVED: &str = "every page comes within 300 ms";

impl Lab for ThunderingHerd {
    const ABOUT: About = About { weeks: &[12], modules: &[10], path: "A", until: secs(10) };

    fn variants() -> Variants<Self> {
        let fill = Fill::EveryMiss;
        let naive = Self { rate: 2_000.0, ttl: secs(4), query: ms(50), fill, keys: 1, jitter: 0.0 };
        Variants::broken("naive", naive, misses(FEW).and(FAST).violates(SERVED))
            .fixed("single-flight", Self { fill: Fill::SingleFlight, ..naive })
            .fixed("lease", Self { fill: Fill::Lease, ..naive })
            .fixed("stale-while-revalidate", Self { fill: Fill::StaleWhileRevalidate, ..naive })
            .fixed("early-refresh", Self { fill: Fill::EarlyRefresh { beta: 1.0 }, ..naive })
            .control("short-flight", Self { fill: Fill::ShortFlight, ..naive })
    }

    fn build(self, sim: &mut Sim) {
        sim.default_link(Link::constant(us(500)).ordered());
        let (keys, mut chance) = (Keys::uniform(self.keys).named("page"), sim.rng("prefill"));
        let keep = if self.fill == Fill::StaleWhileRevalidate { self.ttl } else { Duration::ZERO };
        // What a refresher measures when nobody is before it: the query and one round trip.
        let page = Item::new("page").ttl(self.ttl).cost(self.query + ms(1));
        let pages =
            (0..self.keys).map(|key| (keys.key(key), page.clone().jittered(self.jitter, &mut chance)));
        let cache = CacheServer::new().keep_stale(keep).prefill_all(pages).add_to(sim, "cache");
        let db = Database::new(8).query_time(self.query).add_to(sim, "db");
        WebService::with_state(
            move |node| {
                let pages = ReadThrough::new(node, cache, self.fill, self.ttl).jitter(self.jitter);
                (pages, DatabaseClient::new(node, db))
            },
            async |_, (pages, db), request| {
                let page = async || db.query("page").await.map(|()| "page");
                pages.get(&request.key, |name| request.rng(name), page).await.map(Reply::ok)
            },
        )
        .workers(1_000)
        .add_many(sim, "web", 4);
        let clients = OpenLoop::poisson(self.rate).get("/hot").keys(keys).always_within(SERVED, ms(300));
        clients.eventually_within("after the last herd pages are fast again", ms(20)).add_to(sim, "clients");
    }

    fn expect() -> Expectations {
        Expectations::new()
            // More than 40 has a chance of 2e-8 with early refresh, and none with the others.
            .goal(FEW, |run| queries(run).each().at_most(40))
            // With a lease: 52 ms until the page is there, 10 ms between two looks, and the cache's queue of those who look.
            .goal(FAST, |run| p99_after_expiry(run).below(ms(120)))
            // From the first look that finds nothing to the page in the cache: 1 + 2,000/s x (50 + 4 x 0.5 + 0.2 ms) = 105.
            .claim("naive", "a herd comes", |run| run.gauge("db.load").peaks().each().within(60..=150))
            // 103 queries through 8 connections: 13 rounds of 50 ms.
            .claim("naive", "the herd waits", |run| p99_after_expiry(run).above(ms(400)))
            .claim("single-flight", "one query per web server", |run| queries(run).each().at_most(4))
            .claim(["lease", "stale-while-revalidate"], "one query", |run| queries(run).each().equals(1))
            // Two round trips and a look: 2.2 ms and the cache's queue. Those who fill are 2 of 20,000.
            .claim("stale-while-revalidate", "nobody waits", |run| {
                run.histogram("request").p99().below(ms(10))
            })
            // Chance e^-100 per cycle: by its end, the readers' chances to refresh add up to 2,000/s x 51 ms = 102.
            .claim("early-refresh", "no page waits", |run| run.count("cache.misses").equals(0))
            // 1.2 ms pass between the first answer of the database and the last look that finds nothing. Of the 2.4 requests
            // of that time about every second meets a web server whose flight is over.
            .claim_in(1, 2, "short-flight", "some fly twice", |run| queries(run).any().above(4))
            // Others start to refresh until the first one is done, 52.2 ms later. With a cost of 51 ms that makes
            // e^(52.2/51) = 2.78: 1 plus a geometric number of variance 4.96. 128 seeds have 256 cycles, and 4 standard
            // errors are 4 x sqrt(4.96 / 256) = 0.56. (0.1 takes 8,000 cycles: see tests/lessons.rs.)
            .average(128, "early-refresh", "2.8 queries on average", queries, 2.22..=3.34)
            .show([FEW, FAST], |run| {
                let asks =
                    |page: &SpanView<'_>| page.count_below("db.Execute").value().is_ok_and(|n| n > 0.0);
                let herd = run.spans("GET /hot").roots().only(asks);
                herd.shown(format!("the slowest of {} pages that asked the database", herd.count()))
            })
            .figure("queries per expiry, mean", |run| queries(run).mean())
            .figure("most at the database at once", |run| run.gauge("db.load").max())
            .figure("p99 within 100 ms after an expiry", p99_after_expiry)
            .figure("slowest page", |run| run.histogram("request").max())
    }
}

/// The queries of one expiry come within 52 ms; expiries are seconds apart.
const QUIET: Duration = ms(100);

fn queries(run: &Run) -> Measures {
    run.counter("db.query").bursts(QUIET).named("queries per expiry")
}
fn p99_after_expiry(run: &Run) -> Measure {
    let expiries = run.counter("db.query").times().after_quiet(QUIET);
    run.histogram("request").started_after_each(&expiries, ms(100)).p99()
}
