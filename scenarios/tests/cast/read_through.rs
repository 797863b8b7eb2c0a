//! Read-through: who makes a value that is gone, and how many do.

use std::{cell::Cell, rc::Rc};

use scenarios::cast::{CacheServer, Failure, Fill, Item, ReadThrough};
use sim_core::{
    combine::join_all,
    time::{ms, secs},
};

use crate::figures::*;

/// On two nodes ten ask at once for a value that expires at 1 s. Making it takes 50 ms. How many make it, and what all got.
fn ten_ask_twice(fill: Fill) -> (f64, Vec<String>) {
    let (mut sim, notes) = (world(1, secs(3)), Notes::default());
    let keep = if fill == Fill::StaleWhileRevalidate { secs(5) } else { ms(0) };
    let item = Item::new("old").ttl(secs(1)).cost(ms(50));
    let cache = CacheServer::new().keep_stale(keep).prefill("hot", item).add_to(&mut sim, "cache");
    for name in ["a", "b"] {
        let notes = notes.clone();
        program(&mut sim, name, async move |node| {
            let pages = Rc::new(ReadThrough::new(&node, cache, fill, secs(1)));
            let (made, chance) = (node.counter("made"), node.rng("chance"));
            node.sleep(ms(1_000)).await;
            let asks = (0..10).map(|ask| {
                let (node, pages, made, notes) =
                    (node.clone(), Rc::clone(&pages), made.clone(), notes.clone());
                let chance = chance.fork_u64(ask);
                async move {
                    let make = async || {
                        made.increment();
                        node.sleep(ms(50)).await;
                        Ok::<_, Failure>("new")
                    };
                    let got = pages.get("hot", |name| chance.fork(name), make).await.unwrap();
                    notes.write(&node, String::from_utf8(got).unwrap());
                }
            });
            join_all(asks).await;
        });
    }
    let recording = run(sim);
    (count(&recording, "made"), notes.texts())
}

#[test]
fn each_way_to_fill_has_its_number_of_makers() {
    for (fill, makers) in [
        (Fill::EveryMiss, 20.0),
        (Fill::SingleFlight, 2.0), // one on each node
        (Fill::ShortFlight, 2.0),
        (Fill::Lease, 1.0),
        (Fill::StaleWhileRevalidate, 1.0),
        (Fill::EarlyRefresh { beta: 1.0 }, 20.0), // it is too late to be early
    ] {
        let (made, got) = ten_ask_twice(fill);
        assert_eq!((made, got.len()), (makers, 20), "{fill:?}");
        // One of them fills; the others need not wait.
        let old = if fill == Fill::StaleWhileRevalidate { 19 } else { 0 };
        assert_eq!(got.iter().filter(|text| *text == "old").count(), old, "{fill:?}");
    }
}

#[test]
fn who_is_eager_renews_what_is_still_there() {
    let (mut sim, notes) = (world(1, secs(9)), Notes::default());
    let item = Item::new("old").ttl(secs(4)).cost(ms(500));
    let cache = CacheServer::new().prefill("hot", item).add_to(&mut sim, "cache");
    let told = notes.clone();
    program(&mut sim, "web", async move |node| {
        let pages = ReadThrough::new(&node, cache, Fill::EarlyRefresh { beta: 1.0 }, secs(4));
        let (asked, chance) = (Cell::new(0), node.rng("chance"));
        while asked.get() < 400 {
            let make = async || Ok::<_, Failure>("new");
            let got = pages.get("hot", |name| chance.fork_u64(asked.get()).fork(name), make).await.unwrap();
            told.write(&node, String::from_utf8(got).unwrap());
            asked.set(asked.get() + 1);
            node.sleep(ms(10)).await;
        }
    });
    let recording = run(sim);
    assert_eq!(count(&recording, "cache.misses"), 0.0, "it never expired");
    let first = notes.all().into_iter().find(|(_, text)| text == "new").expect("it was renewed").0;
    // 500 ms x (ln(100/s x 0.5 s) + 0.58) = 2.2 s before 4 s on average, with a deviation of 0.64 s.
    assert!((0..3_900_000).contains(&first), "{first}");
}

#[test]
fn a_value_that_cannot_be_made_is_a_failure_for_all_who_share_it_and_is_not_kept() {
    let mut sim = world(1, secs(3));
    let cache = CacheServer::new().add_to(&mut sim, "cache");
    program(&mut sim, "web", async move |node| {
        let pages = ReadThrough::new(&node, cache, Fill::SingleFlight, secs(1));
        let fails = async || {
            node.sleep(ms(50)).await;
            Err::<&str, _>(Failure::new("down"))
        };
        let streams = node.rng("chance");
        let chance = |name: &str| streams.fork(name);
        let both = [pages.get("hot", chance, &fails), pages.get("hot", chance, &fails)];
        assert_eq!(join_all(both).await, [Err(Failure::new("down")), Err(Failure::new("down"))]);
        let works = async || Ok::<_, Failure>("page");
        assert_eq!(pages.get("hot", chance, works).await.unwrap(), b"page");
    });
    let recording = run(sim);
    assert_eq!((count(&recording, "flight.led"), count(&recording, "cache.sets")), (2.0, 1.0));
}
