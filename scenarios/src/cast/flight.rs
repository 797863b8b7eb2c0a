//! Single flight: when many on one node want the same thing at the same time, one of them fetches it and all get it.
//!
//! The first caller leads: it carries out its own fetch. Who comes before it is over waits, and gets a copy of what came of
//! it, be it a failure. Where the leader is gone half way (its caller gave up), the next in line leads. The name is that of
//! Go's `singleflight` package.
//!
//! What belongs into a flight? All that must have happened before the next caller looks for itself. A flight that fills a
//! cache ends when the cache has the value: ended at the database's answer, a caller whose look at the cache is under way
//! finds nothing and flies again.

use std::{cell::RefCell, collections::BTreeMap};

use sim_core::{
    Node,
    record::Counter,
    sync::{OneshotSender, oneshot},
};

/// One fetch at a time for each key: see the module. It belongs to one node.
///
/// ```
/// # use sim_core::{Sim, plan::Plan, record::RecordingLevel, time::{ms, secs}, combine::join};
/// # use scenarios::cast::SingleFlight;
/// # let mut sim = Sim::new(&Plan::new("flight", 42, secs(1)), RecordingLevel::Essential);
/// sim.node("web", async |node| {
///     let flights = SingleFlight::new(&node);
///     let fetch = async || {
///         node.sleep(ms(50)).await;
///         "page"
///     };
///     let both = join(flights.share("hot", fetch), flights.share("hot", async || unreachable!()));
///     assert_eq!(both.await, ("page", "page"));
/// });
/// # sim.run().unwrap();
/// ```
pub struct SingleFlight<T> {
    node: Node,
    flights: RefCell<BTreeMap<String, Vec<OneshotSender<T>>>>,
    led: Counter,
    shared: Counter,
}

impl<T: Clone> SingleFlight<T> {
    /// Nobody flies yet.
    pub fn new(node: &Node) -> Self {
        Self {
            flights: RefCell::default(),
            led: node.counter("flight.led"),
            shared: node.counter("flight.shared"),
            node: node.clone(),
        }
    }
    /// Carries out `fetch`, or waits for who is doing so for the same key, and gives what came of it.
    pub async fn share(&self, key: &str, fetch: impl AsyncFnOnce() -> T) -> T {
        loop {
            let seat = self.flights.borrow_mut().get_mut(key).map(|waiting| {
                let (sender, receiver) = oneshot();
                waiting.push(sender);
                receiver
            });
            let Some(seat) = seat else { break };
            self.shared.increment();
            // Nobody sends where the leader was dropped. Then whoever is woken first leads.
            if let Some(value) = self.node.span("flight.wait").run(seat).await {
                return value;
            }
        }
        self.flights.borrow_mut().insert(key.to_owned(), Vec::new());
        self.led.increment();
        let flight = Flight { flights: self, key };
        let value = fetch().await;
        for seat in flight.land() {
            seat.send(value.clone());
        }
        value
    }
}

/// A flight under way. Dropped, by its end or by a leader who gives up, it makes room for the next.
struct Flight<'a, T> {
    flights: &'a SingleFlight<T>,
    key: &'a str,
}

impl<T> Flight<'_, T> {
    /// Ends it; gives those who wait.
    fn land(self) -> Vec<OneshotSender<T>> {
        self.flights.flights.borrow_mut().remove(self.key).unwrap_or_default()
    }
}

impl<T> Drop for Flight<'_, T> {
    fn drop(&mut self) {
        self.flights.flights.borrow_mut().remove(self.key);
    }
}
