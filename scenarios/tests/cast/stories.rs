//! The parts together: two stories in a few lines, to see that the cast plays them, and the same way each time.

use scenarios::cast::{
    CacheClient, CacheServer, Database, DatabaseClient, Failure, Item, Lookup, OpenLoop, Reply, WebRequest,
    WebService,
};
use sim_core::{
    Sim,
    fault::FaultPlan,
    net::Link,
    plan::Plan,
    record::{Recording, RecordingLevel},
    rng::Delay,
    time::{ms, secs, us},
};

use crate::figures::*;

/// A hot page at 2,000 requests a second, whose cache entry lives 4 s, before a database with 8 connections and 50 ms a query.
fn herd(seed: u64, lease: bool, level: RecordingLevel) -> Recording {
    let mut plan = Plan::new("herd", seed, secs(6));
    plan.faults = FaultPlan::none();
    let mut sim = Sim::new(&plan, level);
    sim.default_link(Link::constant(us(500)).ordered());
    let page = || Item::new("page").ttl(secs(4)).cost(ms(51));
    let db = Database::new(8).query_time(ms(50)).add_to(&mut sim, "db");
    let cache = CacheServer::new().prefill("hot", page()).add_to(&mut sim, "cache");
    WebService::with_state(
        move |node| (CacheClient::new(node, cache), DatabaseClient::new(node, db)),
        async move |node, (cache, db), request| -> Result<Reply, Failure> {
            loop {
                if lease {
                    match cache.get_or_lease(&request.key).await? {
                        Lookup::Hit(page) => return Ok(Reply::ok(page.value)),
                        Lookup::Wait { .. } => node.sleep(ms(10)).await,
                        Lookup::Fill { lease, .. } => {
                            db.query("page").await?;
                            cache.set_leased(&request.key, page(), lease).await?;
                            return Ok(Reply::ok("page"));
                        }
                    }
                } else if let Some(page) = cache.get(&request.key).await? {
                    return Ok(Reply::ok(page.value));
                } else {
                    db.query("page").await?;
                    cache.set(&request.key, page()).await?;
                    return Ok(Reply::ok("page"));
                }
            }
        },
    )
    .workers(1_000)
    .add_many(&mut sim, "web", 4);
    OpenLoop::poisson(2_000.0).get("/hot").keys("hot").until(secs(5)).add_to(&mut sim, "clients");
    run(sim)
}

#[test]
fn an_expired_hot_key_sends_a_herd_and_a_lease_sends_one() {
    for seed in 1..=3 {
        let naive = herd(seed, false, RecordingLevel::Essential);
        // One query and 2,000/s for the 52.2 ms until the page is back: 105, and the spread of chance.
        assert!((60.0..=150.0).contains(&count(&naive, "db.query")), "{}", count(&naive, "db.query"));
        assert!(quantile(&sorted(&naive, "request"), 0.999) > 0.4);
        let leased = herd(seed, true, RecordingLevel::Essential);
        assert_eq!(count(&leased, "db.query"), 1.0);
        assert!(quantile(&sorted(&leased, "request"), 1.0) < 0.12);
        assert_eq!(count(&leased, "requests.ok"), count(&leased, "requests.started"));
        // The same public came in both.
        assert_eq!(points(&naive, "requests.started"), points(&leased, "requests.started"));
    }
}

#[test]
fn the_same_plan_gives_the_same_recording() {
    let (one, two) = (herd(5, true, RecordingLevel::Full), herd(5, true, RecordingLevel::Full));
    assert_eq!(one.hash(), two.hash());
    let other = herd(6, true, RecordingLevel::Full);
    assert_ne!(one.hash(), other.hash());
    assert_eq!(herd(5, true, RecordingLevel::Essential).run_hash, one.run_hash);
}

#[test]
fn the_slow_service_is_not_the_one_with_the_highest_mean() {
    let mut sim = world(1, secs(32));
    let service = |time: u64| WebService::calling(Delay::normal(ms(time), ms(time) / 10), []);
    let db = Database::new(8).time_for("scan", Delay::constant(ms(400))).add_to(&mut sim, "currency-db");
    let currency = WebService::with_state(
        move |node| DatabaseClient::new(node, db),
        async |node, db, request| -> Result<Reply, Failure> {
            let mut chance = request.rng("scan");
            if chance.chance(0.03) {
                db.query("scan").await?;
            } else {
                node.work(ms(1)).await;
            }
            Ok(Reply::ok("1.08"))
        },
    );
    let currency = currency.add_to(&mut sim, "currency");
    let catalog = service(5).add_to(&mut sim, "catalog");
    let pricing = WebService::calling(Delay::normal(ms(3), us(300)), [currency]).add_to(&mut sim, "pricing");
    let reviews = service(25).add_to(&mut sim, "reviews");
    let inventory = service(6).add_to(&mut sim, "inventory");
    let parts = [catalog, pricing, reviews, inventory];
    let web = WebService::calling(Delay::constant(ms(0)), parts).add_to(&mut sim, "web");
    WebService::new(async move |node, request| WebRequest::get(&request.path).fetch(node, web).await)
        .add_to(&mut sim, "gateway");
    OpenLoop::poisson(50.0).get("/product").to("gateway").until(secs(30)).add_to(&mut sim, "clients");
    let recording = run(sim);
    let pages = sorted(&recording, "request");
    assert!((0.040..0.065).contains(&quantile(&pages, 0.5)) && quantile(&pages, 0.99) > 0.4);
    let times = |name: &str| {
        let node = recording.find_node(name).unwrap();
        let of = |s: &&sim_core::record::Series| s.node == node && recording.text(s.name) == "web.time";
        let mut times: Vec<f64> =
            recording.metrics.iter().find(of).unwrap().points.iter().map(|p| p.value).collect();
        times.sort_by(f64::total_cmp);
        times
    };
    let (currency, reviews) = (times("currency"), times("reviews"));
    assert!(mean(&currency) < mean(&reviews));
    assert!(quantile(&currency, 0.99) > 5.0 * quantile(&reviews, 0.99));
}
