//! Courier and recipient: what is lost, doubled and overtaken on the way, and what each half of the repair cures.

use scenarios::cast::{Courier, Numbered, Recipient};
use scenarios::prelude::Order;
use serde::{Deserialize, Serialize};
use sim_core::{
    Node,
    fault::{Fault, FaultPlan, LinkChange},
    net::Link,
    rng::Delay,
    time::{Duration, ms, secs},
};

use crate::figures::*;

#[derive(Serialize, Deserialize)]
struct Letter(u64);
impl Numbered for Letter {
    fn number(&self) -> u64 {
        self.0
    }
}

/// 200 letters, one every 5 ms, over a link that loses a tenth, doubles a tenth and delays up to 50 ms: what is passed on, how
/// many were sent, and how many nobody acknowledged.
fn letters(order: Order, resend_after: Option<Duration>) -> (Vec<u64>, f64, f64) {
    let fault = |name: &str, change: LinkChange| Fault::at(ms(0), name, change);
    let faults = FaultPlan::none()
        .with(fault("loss", LinkChange::loss(0.1)))
        .with(fault("copies", LinkChange::duplication(0.1)))
        .with(fault("jitter", LinkChange::delay(Delay::uniform(ms(0), ms(50)))));
    let (mut sim, notes) = (world_with(1, secs(9), faults), Notes::default());
    sim.default_link(Link::constant(ms(1))); // packets may overtake each other
    let told = notes.clone();
    let store = program(&mut sim, "store", async move |node| {
        let (writer, told) = (node.clone(), told.clone());
        let recipient = Recipient { acknowledges: resend_after.is_some(), order };
        recipient.receive(&node, move |Letter(number)| told.write(&writer, number.to_string())).await;
    });
    program(&mut sim, "writer", async move |node: Node| {
        let courier = Courier::new(&node, store, resend_after);
        for number in 0..200 {
            courier.send("letter", Letter(number));
            node.sleep(ms(5)).await;
        }
        node.sleep(secs(5)).await;
        node.gauge("open").set(courier.open() as f64);
    });
    let recording = run(sim);
    let got = notes.texts().iter().map(|text| text.parse().unwrap()).collect();
    (got, count(&recording, "courier.sent"), last(&recording, "open"))
}

fn has_copies(got: &[u64]) -> bool {
    let mut sorted = got.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

#[test]
fn what_is_sent_once_and_taken_as_it_comes_bears_all_marks() {
    let (got, sent, open) = letters(Order::AsItComes, None);
    assert_eq!((sent, open), (200.0, 200.0));
    assert!(has_copies(&got) && !got.is_sorted());
    assert!((0..200).any(|number| !got.contains(&number)), "something is lost");
}

#[test]
fn numbers_cure_copies_and_order_and_bring_nothing_back() {
    let (got, sent, _) = letters(Order::HoldAtMost(ms(100)), None);
    assert_eq!(sent, 200.0);
    assert!(got.windows(2).all(|pair| pair[0] < pair[1]), "{got:?}");
    assert!((150..200).contains(&got.len()), "{}", got.len());
}

#[test]
fn acknowledgements_alone_bring_everything_back_and_make_more_copies() {
    let (got, sent, open) = letters(Order::AsItComes, Some(ms(120)));
    assert!((0..200).all(|number| got.contains(&number)) && has_copies(&got));
    assert!(sent > 200.0 && open == 0.0, "{sent} {open}");
}

#[test]
fn both_together_cure_everything() {
    let (got, _, open) = letters(Order::Complete, Some(ms(120)));
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    assert_eq!(open, 0.0);
}
