//! Single flight: one leads, all get it, and a leader who gives up strands nobody.

use std::{cell::Cell, rc::Rc};

use scenarios::cast::{Failure, SingleFlight};
use sim_core::time::{ms, secs};

use crate::figures::*;

#[test]
fn one_fetch_serves_all_who_come_before_it_is_over() {
    let (mut sim, notes) = (world(1, secs(1)), Notes::default());
    let told = notes.clone();
    sim.node("web", async move |node| {
        let flights = Rc::new(SingleFlight::new(&node));
        let fetched = Rc::new(Cell::new(0));
        for (at, key) in [(0, "a"), (10, "a"), (20, "b"), (49, "a"), (51, "a")] {
            let (own, flights, fetched, told) =
                (node.clone(), Rc::clone(&flights), Rc::clone(&fetched), told.clone());
            node.spawn_detached(async move {
                own.sleep(ms(at)).await;
                let fetch = async || {
                    own.sleep(ms(50)).await;
                    fetched.set(fetched.get() + 1);
                    fetched.get()
                };
                let got = flights.share(key, fetch).await;
                told.write(&own, format!("{key}{got}"));
            });
        }
        node.sleep(secs(1)).await;
    });
    let recording = run(sim);
    let expected = [(50, "a1"), (50, "a1"), (50, "a1"), (70, "b2"), (101, "a3")];
    assert_eq!(notes.all(), expected.map(|(at, text)| (at * 1_000, text.to_owned())));
    assert_eq!((count(&recording, "flight.led"), count(&recording, "flight.shared")), (3.0, 2.0));
}

#[test]
fn when_the_leader_gives_up_the_next_in_line_leads() {
    let (mut sim, notes) = (world(1, secs(1)), Notes::default());
    let told = notes.clone();
    sim.node("web", async move |node| {
        let flights: Rc<SingleFlight<Result<u64, Failure>>> = Rc::new(SingleFlight::new(&node));
        for (number, patience) in [(0, 20), (1, 500), (2, 500)] {
            let (own, flights, told) = (node.clone(), Rc::clone(&flights), told.clone());
            node.spawn_detached(async move {
                let fetch = async || {
                    own.sleep(ms(50)).await;
                    Err("down".into())
                };
                let got = own.timeout(ms(patience), flights.share("a", fetch)).await;
                told.write(
                    &own,
                    format!(
                        "{number} {}",
                        got.map_or("gave up", |got| if got.is_err() { "failed" } else { "ok" })
                    ),
                );
            });
        }
        node.sleep(secs(1)).await;
    });
    run(sim);
    let expected = [(20, "0 gave up"), (70, "1 failed"), (70, "2 failed")];
    assert_eq!(notes.all(), expected.map(|(at, text)| (at * 1_000, text.to_owned())));
}
