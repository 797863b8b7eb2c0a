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
//! and not when the cache has the page, so an answer of the cache that is under way by then starts a second query.
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

use caching_policies::EarlyRefresh;

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

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fill {
    /// Every miss asks the database.
    EveryMiss,
    /// Misses of one web server share a query, until the cache has the page.
    SingleFlight,
    /// Misses of one web server share a query, until the database has answered.
    ShortFlight,
    /// The cache lets one ask for 200 ms; the others look again after 10 ms.
    Lease,
    /// The cache lets one ask for 200 ms; the others get the expired page.
    StaleWhileRevalidate,
    /// A reader renews the page early, with a chance that grows towards the expiry.
    EarlyRefresh {
        /// How eagerly.
        beta: f64,
    },
}

impl Lab for ThunderingHerd {
    const ABOUT: About = About { weeks: &[12], modules: &[10], path: "A", until: secs(10) };

    fn variants() -> Variants<Self> {
        let fill = Fill::EveryMiss;
        let naive = Self { rate: 2_000.0, ttl: secs(4), query: ms(50), fill, keys: 1, jitter: 0.0 };
        Variants::broken("naive", naive, misses(FEW).and(FAST))
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
        let page = |key| (keys.key(key), self.page(&mut chance, self.query + ms(1)));
        let pages: Vec<_> = (0..self.keys).map(page).collect();
        let cache = CacheServer::new().keep_stale(keep).prefill_all(pages).add_to(sim, "cache");
        let db = Database::new(8).query_time(self.query).add_to(sim, "db");
        WebService::with_state(
            move |node| {
                Web(CacheClient::new(node, cache), DatabaseClient::new(node, db), SingleFlight::new(node))
            },
            async move |node, web, request| self.serve(node, web, request).await,
        )
        .workers(1_000)
        .add_many(sim, "web", 4);
        OpenLoop::poisson(self.rate).get("/hot").keys(keys).add_to(sim, "clients");
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
            // e^(52.2/51) = 2.78: 1 plus a geometric number of variance 4.96. In 16 seeds with 2 cycles each, 4 standard
            // errors are 4 x sqrt(4.96 / 32) = 1.58. (tests/lessons.rs has 8,000 cycles: 2.7 to 2.9.)
            .over_seeds(16, "early-refresh", "2.8 queries", queries, |all| all.mean().within(1.2..=4.36))
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

const FEW: &str = "few queries per expiry";
const FAST: &str = "pages stay fast when the key expires";
/// The queries of one expiry come within 52 ms; expiries are seconds apart.
const QUIET: Duration = ms(100);

fn queries(run: &Run) -> Measures {
    run.counter("db.query").bursts(QUIET).named("queries per expiry")
}
fn p99_after_expiry(run: &Run) -> Measure {
    let expiries = run.counter("db.query").times().after_quiet(QUIET);
    run.histogram("request").started_after_each(&expiries, ms(100)).p99()
}

/// What the requests of one web server share.
struct Web(CacheClient, DatabaseClient, SingleFlight<Result<Reply, Failure>>);

impl ThunderingHerd {
    /// A page as it is put into the cache, which has cost that much.
    fn page(self, chance: &mut Rng, cost: Duration) -> Item {
        Item::new("page").ttl(self.ttl.mul_f64(1.0 - self.jitter * chance.unit())).cost(cost)
    }

    async fn serve(self, node: &Node, web: &Web, request: Incoming) -> Result<Reply, Failure> {
        let (Web(cache, db, flights), key) = (web, &request.key);
        let (found, when) = match self.fill {
            Fill::Lease | Fill::StaleWhileRevalidate => match cache.wait_or_lease(key, ms(10)).await? {
                Lookup::Fill { lease, .. } => (None, SetWhen::Lease(lease)),
                found => (found.value(), SetWhen::Always),
            },
            Fill::EarlyRefresh { beta } => {
                let (rule, u) = (EarlyRefresh::new(beta), request.rng("refresh").unit());
                let due = |page: &Cached| page.ttl_left.is_some_and(|left| rule.is_due(left, page.cost, u));
                (cache.get(key).await?.filter(|page| !due(page)), SetWhen::Always)
            }
            _ => (cache.get(key).await?, SetWhen::Always),
        };
        if let Some(page) = found {
            return Ok(Reply::ok(page.value));
        }
        let fill = async || {
            let asked = node.monotonic();
            db.query("page").await?;
            let page = self.page(&mut request.rng("jitter"), node.monotonic().since(asked));
            let (cache, key, value) = (cache.clone(), key.clone(), page.value.clone());
            let set = async move { cache.set_when(&key, page, when).await };
            if self.fill == Fill::ShortFlight {
                node.spawn_detached(async { drop(set.await) }); // the flight does not wait for it
            } else {
                set.await?;
            }
            Ok(Reply::ok(value))
        };
        match self.fill {
            Fill::SingleFlight | Fill::ShortFlight => flights.share(key, fill).await,
            _ => fill().await,
        }
    }
}
