//! # Finding the slow service
//!
//! A product page is put together by seven services in sequence, 50 pages a second. Most pages take about 50 ms, but about
//! one in thirty takes nearly half a second. The dashboard of mean times blames `reviews` (25 ms a call). The real culprit is
//! `currency`: 97 % of its calls hit a table in memory, 3 % scan an unindexed table for 400 ms, so its mean is only 13 ms.
//! Means hide it; one slow trace shows it at once.
//!
//! `tune-reviews` is the wrong fix, which the means ask for: every page gets 15 ms faster, and the slow ones stay slow.
//! `indexed` is the right one: the rare look-up takes 5 ms.
//!
//! ## Predict
//! - Of the services that do the work themselves, which has the highest mean? `reviews`, 25 ms a call.
//! - Which one must be fixed to bring the p99 under 100 ms? `currency`: its mean is 13 ms, its slow calls take 400.
//! - How much does the p99 improve when the service with the highest mean gets 15 ms faster? By those 15 ms, of about 450.
//!
//! ## Watch
//! - mean and p99 of each service, side by side
//! - the slowest `GET /product` trace: follow the critical path down to one span `currency.scan`
//! - self time against total time: the gateway has the longest span and no work
//!
//! ## Try next
//! - `--set rare_share=0.005`: the p99 looks healthy again. Which percentile shows the fault now?

use crate::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct FindingSlowService {
    /// Product pages per second.
    #[schemars(range(min = 1, max = 500), extend("x-unit" = "1/s"))]
    pub rate: f64,
    /// Which part of the currency look-ups is not in memory.
    #[schemars(range(min = 0, max = 1))]
    pub rare_share: f64,
    /// How long such a look-up takes in the database.
    #[schemars(extend("x-range" = ["1ms", "10s"]))]
    pub scan: Duration,
    /// How long `reviews` works on a call.
    #[schemars(extend("x-range" = ["1ms", "1s"]))]
    pub reviews_time: Duration,
}

impl Lab for FindingSlowService {
    const ABOUT: About = About { weeks: &[1], modules: &[], path: "A", until: secs(31) };

    fn variants() -> Variants<Self> {
        let unindexed = Self { rate: 50.0, rare_share: 0.03, scan: ms(400), reviews_time: ms(25) };
        Variants::broken("unindexed", unindexed, misses(FAST).violates(ALL_FAST))
            .fixed("indexed", Self { scan: ms(5), ..unindexed })
            .control("tune-reviews", Self { reviews_time: ms(10), ..unindexed })
    }

    fn build(self, sim: &mut Sim) {
        sim.default_link(Link::constant(us(500)).ordered());
        let noisy = |time: Duration| Delay::normal(time, time / 10);
        // A scan holds one of 8 connections, and no core of the service that waits for it.
        let db =
            Database::new(8).time_for("scan", Delay::constant(self.scan)).machine(|m| m.service("currency"));
        let db = db.add_to(sim, "currency-db");
        let currency = WebService::with_state(
            move |node| DatabaseClient::new(node, db),
            async move |node, db, request| {
                // By the request's own chance: the same pages are the rare ones in all variants.
                let is_rare = request.rng("rare").chance(self.rare_share);
                node.sometimes("a rare look-up", is_rare);
                if is_rare {
                    node.span("currency.scan").run(db.query("scan")).await?;
                } else {
                    node.work(request.rng("work").duration(&noisy(ms(1)))).await;
                }
                Ok::<_, Failure>(Reply::ok("1.08"))
            },
        )
        .add_to(sim, "currency");
        let catalog = WebService::calling(noisy(ms(5)), []).add_to(sim, "catalog");
        let pricing = WebService::calling(noisy(ms(3)), [currency]).add_to(sim, "pricing");
        let reviews = WebService::calling(noisy(self.reviews_time), []).add_to(sim, "reviews");
        let inventory = WebService::calling(noisy(ms(6)), []).add_to(sim, "inventory");
        let web = WebService::passing_on([catalog, pricing, reviews, inventory]).add_to(sim, "web");
        WebService::passing_on([web]).add_to(sim, "gateway");
        let clients = OpenLoop::poisson(self.rate).get("/product").to("gateway").until(secs(30));
        clients.always_within(ALL_FAST, ms(200)).add_to(sim, "clients");
    }

    fn expect() -> Expectations {
        let mut expectations = Expectations::new()
            // 40 ms of work, 7 round trips of 1 ms, a deviation of 2.7 ms: 53 ms, and 5 ms more on a rare page.
            .goal(FAST, |run| page(run).p99().below(ms(90)))
            // 3 % of some 1,500 pages, about 45, are slow; 15 are enough to own the p99.
            .claim("unindexed", "slow pages own the p99", |run| page(run).p99().above(ms(400)))
            // 5 + 3 + 25 + 6 + 1 = 40 ms of work and 7 round trips of 1 ms: 47 ms.
            .claim("unindexed", "most are fast", |run| page(run).median().within(ms(40)..=ms(65)))
            // 0.97 x 1 + 0.03 x 401 = 13 ms, give or take 1.8 ms, against 25 ms.
            .claim("unindexed", "the mean blames reviews", |run| {
                call(run, "currency").mean().below(call(run, "reviews").mean())
            })
            // The deviation of a call is 400 ms x sqrt(0.03 x 0.97) = 68 ms; of 16 x 1,500 calls four standard errors are 1.8.
            .average(
                16,
                "unindexed",
                "13 ms on average",
                |run| call(run, "currency").mean(),
                us(11_200)..=us(14_800),
            )
            // 401 ms against 25 + 2.3 x 2.5 = 31 ms: a factor of 13.
            .claim("unindexed", "the p99 blames currency", |run| {
                (call(run, "currency").p99() / call(run, "reviews").p99()).at_least(5)
            })
            // 402 of about 449 ms.
            .claim("unindexed", "currency owns the slowest pages", |run| {
                let slowest = run.spans("GET /product").roots().slowest(0.01);
                slowest.share_of("currency").each().at_least(percent(80))
            })
            .claim("tune-reviews", "slow pages stay slow", |run| page(run).p99().above(ms(380)))
            // The same pages, with 15 ms less of work in each.
            .compare("tune-reviews", "unindexed", "most get a little faster", |after, before| {
                (page(before).median() - page(after).median()).within(ms(10)..=ms(20))
            })
            .compare("indexed", "unindexed", "most stay as they were", |after, before| {
                (page(after).median() - page(before).median()).abs().at_most(ms(5))
            })
            .show(FAST, |run| run.spans("GET /product").roots().shown("the slowest page"))
            .figure("p50 of a page", |run| page(run).median())
            .figure("p99 of a page", |run| page(run).p99())
            .figure("gateway, mean", |run| call(run, "gateway").mean())
            .figure("gateway, mean self time", |run| run.spans("gateway.Get").server().self_times().mean());
        for service in ["catalog", "pricing", "currency", "reviews", "inventory"] {
            expectations = expectations
                .figure(format!("{service}, mean"), move |run| call(run, service).mean())
                .figure(format!("{service}, p99"), move |run| call(run, service).p99());
        }
        expectations
    }
}

const FAST: &str = "the p99 of a page is below 90 ms";
const ALL_FAST: &str = "every page comes within 200 ms";

fn page(run: &Run) -> Measures {
    run.histogram("request").named("page")
}
fn call(run: &Run, service: &str) -> Measures {
    run.node(service).histogram("web.time").named(service)
}
