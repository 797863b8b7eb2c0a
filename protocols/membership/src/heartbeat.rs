//! Heartbeats: nodes say "I am alive" at a steady pace, and a monitor suspects whom it has not heard for too long.
//!
//! ```text
//!   sender                         monitor
//!     |-- Heartbeat 0 ---------------->|  the silence begins anew: timer in limit
//!     |-- Heartbeat 1 ---------------->|  again
//!     X  crash                         |
//!                                      |  limit passed: Suspected
//! ```
//!
//! | message | from | to | when | what it does |
//! |---|---|---|---|---|
//! | `Heartbeat { sequence }` | sender | each of its monitors | at a random phase of the first period, then every period | ends a suspicion, and begins the silence anew |
//!
//! A node is a sender, a monitor, or both, as its [`Config`] says. How long a silence may last is the business of a
//! [`Detector`], one [`Judge`] for each watched node; the monitor asks for the limit at each arrival and arms one timer for
//! exactly that time. It never polls.
//!
//! **What it promises.** Let L be the limit in force, P the period and d the delay of the last heartbeat sent, which is not
//! lost. With exact clocks a crash is found at least L - P + d and at most L + d after it, on average L - P / 2 + d where
//! crashes fall anywhere in a period. What a crashed node had already sent still arrives, and counts. There are no false
//! alarms as long as no gap is longer than the limit; after one, the next heartbeat says so (`Alive`).
//!
//! **Old news.** A heartbeat that has been overtaken by a later one, or comes twice, is ignored: it proves nothing that the
//! later one has not proved, so it begins no silence anew, revives nobody, and teaches the judge no gap. (Freshness by
//! sequence number, as in W. Chen, S. Toueg, M. Aguilera, "On the Quality of Service of Failure Detectors", IEEE
//! Transactions on Computers 51, 2002.) So the bounds above hold with any delays, also where packets overtake each other.
//!
//! **Restarts.** Sequence numbers must not begin again at 0, or a restarted node would be ignored until it has caught up.
//! The upper 32 bits of a sequence count the starts of the sender, from its disk: one record for each start, and the first
//! heartbeat waits until that record is safe. The time between two starts is no gap, and the judge does not learn it.
//!
//! **Lost heartbeats.** A gap is what the monitor hears: where one heartbeat is lost it is two periods long, and is learned
//! as such. Gaps that ended a false suspicion are learned too, or the detector would never get used to a worse network.
//!
//! **Pauses.** A sender that stood still sends one heartbeat when it wakes, and then one each period: it does not catch up.
//! A monitor that stood still may find its timer due before the heartbeats that waited for it, and cry wolf.
//!
//! Source: N. Hayashibara, X. Défago, R. Yared, T. Katayama, "The φ Accrual Failure Detector", SRDS 2004.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use serde::{Deserialize, Serialize};
use sim_core::{
    NodeId,
    protocol::{Out, Protocol},
    time::{Duration, Monotonic},
};

use crate::detector::{Detector, Judge};

#[cfg(test)]
mod tests;

/// The state that shows a monitor's suspects on the timeline: `n3,n7`, by the numbers of the nodes; empty without any.
pub const SUSPECTS: &str = "suspects";

/// The roles of a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Whom it tells that it is alive, if anybody.
    pub sender: Option<Sender>,
    /// Whom it watches, if anybody.
    pub monitor: Option<Monitor>,
}

/// The role of a sender.
#[derive(Clone, Debug, PartialEq)]
pub struct Sender {
    /// Who monitors this node. A node named twice is told once.
    pub monitors: Vec<NodeId>,
    /// From one heartbeat to the next; with zero it sends none.
    pub period: Duration,
}

/// The role of a monitor.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// Whose heartbeats it listens to; those of others it ignores. Not itself.
    pub watched: Vec<NodeId>,
    /// When it suspects them. Their first silence begins when the monitor starts.
    pub detector: Detector,
}

impl Config {
    /// A node that tells its monitors every period that it is alive.
    pub fn sender(monitors: impl IntoIterator<Item = NodeId>, period: Duration) -> Self {
        Self { sender: Some(Sender { monitors: monitors.into_iter().collect(), period }), monitor: None }
    }
    /// A node that watches others.
    pub fn monitor(watched: impl IntoIterator<Item = NodeId>, detector: Detector) -> Self {
        Self { sender: None, monitor: Some(Monitor { watched: watched.into_iter().collect(), detector }) }
    }
    /// The same node, which also watches others.
    #[must_use]
    pub fn and_monitor(self, watched: impl IntoIterator<Item = NodeId>, detector: Detector) -> Self {
        Self { monitor: Self::monitor(watched, detector).monitor, ..self }
    }

    /// Whether the switches make sense. What does not still never panics.
    ///
    /// # Errors
    /// Says which one is wrong and what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        if self.sender.as_ref().is_some_and(|sender| sender.period.is_zero()) {
            return Err("`period` must be more than 0s: the time from one heartbeat to the next".to_owned());
        }
        self.monitor.as_ref().map_or(Ok(()), |monitor| monitor.detector.validate())
    }
}

/// What nodes say to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// I am alive.
    Heartbeat {
        /// The upper 32 bits count the sender's starts, the lower ones its heartbeats since, both from 0.
        sequence: u64,
    },
}

/// What a monitor announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node has been silent for too long: it is taken for dead.
    Suspected(NodeId),
    /// A suspected node has been heard again.
    Alive(NodeId),
}

/// What a sender persists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// It has started; which of its starts this is, counted from 0.
    Started(u32),
}

/// The timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The next heartbeat is due.
    Send,
    /// This node's silence has reached its limit.
    Silence(NodeId),
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    sending: Option<Sending>,
    watched: BTreeMap<NodeId, Watched>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sending {
    monitors: BTreeSet<NodeId>,
    period: Duration,
    sequence: u64,
}

/// What a monitor knows of one node.
#[derive(Clone, Debug, PartialEq)]
struct Watched {
    judge: Judge,
    /// The highest sequence number that has come.
    newest: Option<u64>,
    /// When it came; before the first, when the monitor started.
    since: Monotonic,
    suspected: bool,
}

/// The first sequence number of a start.
fn first_sequence(start: u32) -> u64 {
    u64::from(start) << 32
}

fn of_the_same_start(a: u64, b: u64) -> bool {
    a >> 32 == b >> 32
}

impl Heartbeat {
    /// Whether this monitor suspects the node. Nobody is suspected whom it does not watch.
    pub fn is_suspected(&self, node: NodeId) -> bool {
        self.watched.get(&node).is_some_and(|watched| watched.suspected)
    }
    /// The nodes that this monitor suspects, in order of their numbers.
    pub fn suspects(&self) -> impl Iterator<Item = NodeId> {
        self.watched.iter().filter(|(_, watched)| watched.suspected).map(|(&node, _)| node)
    }
    /// The limit in force for a node's silence; none where it is not watched.
    pub fn limit(&self, node: NodeId) -> Option<Duration> {
        self.watched.get(&node).map(|watched| watched.judge.limit())
    }
    /// How suspicious a node's silence is at that time of the monitor's clock. None where it is not watched, or where the
    /// detector knows no phi.
    pub fn phi(&self, node: NodeId, now: Monotonic) -> Option<f64> {
        let watched = self.watched.get(&node)?;
        watched.judge.phi(now.since(watched.since))
    }

    fn show_suspects(&self, out: &mut Out<Self>) {
        let names: Vec<String> = self.suspects().map(|NodeId(number)| format!("n{number}")).collect();
        out.state(SUSPECTS, names.join(","));
    }
}

impl Protocol for Heartbeat {
    type Config = Config;
    type Message = Message;
    type Command = Infallible;
    type Event = Event;
    type Record = Record;
    type Timer = Timer;

    fn restore(config: &Config, records: Vec<Record>, out: &mut Out<Self>) -> Self {
        let mut sending = None;
        if let Some(Sender { monitors, period }) = &config.sender
            && !monitors.is_empty()
            && !period.is_zero()
        {
            // The highest, not the last: sequence numbers must never go back.
            let starts = records.iter().map(|Record::Started(start)| start.saturating_add(1)).max();
            let start = starts.unwrap_or(0);
            out.append(Record::Started(start));
            let phase = Duration::from_nanos(out.rng().below(period.as_nanos()));
            out.arm(Timer::Send, phase);
            sending = Some(Sending {
                monitors: monitors.iter().copied().collect(),
                period: *period,
                sequence: first_sequence(start),
            });
        }
        let mut watched = BTreeMap::new();
        if let Some(monitor) = &config.monitor {
            let judge = monitor.detector.judge();
            let unheard = Watched { judge, newest: None, since: out.now(), suspected: false };
            watched.extend(monitor.watched.iter().map(|&node| (node, unheard.clone())));
            for &node in watched.keys() {
                out.arm(Timer::Silence(node), unheard.judge.limit());
            }
        }
        Self { sending, watched }
    }

    fn on_command(&mut self, command: Infallible, _out: &mut Out<Self>) {
        match command {}
    }

    fn on_message(&mut self, from: NodeId, message: Message, out: &mut Out<Self>) {
        let Message::Heartbeat { sequence } = message;
        let Some(watched) = self.watched.get_mut(&from) else { return };
        if watched.newest.is_some_and(|newest| sequence <= newest) {
            return;
        }
        let now = out.now();
        if watched.newest.is_some_and(|newest| of_the_same_start(newest, sequence)) {
            watched.judge.learn(now.since(watched.since));
        }
        watched.newest = Some(sequence);
        watched.since = now;
        out.arm(Timer::Silence(from), watched.judge.limit());
        if std::mem::take(&mut watched.suspected) {
            self.show_suspects(out);
            out.announce(Event::Alive(from));
        }
    }

    fn on_timer(&mut self, timer: Timer, out: &mut Out<Self>) {
        match timer {
            Timer::Send => {
                let Some(sending) = &mut self.sending else { return };
                out.broadcast(&sending.monitors, Message::Heartbeat { sequence: sending.sequence });
                sending.sequence = sending.sequence.saturating_add(1);
                out.arm(Timer::Send, sending.period);
            }
            Timer::Silence(node) => {
                let Some(watched) = self.watched.get_mut(&node) else { return };
                watched.suspected = true;
                self.show_suspects(out);
                out.announce(Event::Suspected(node));
            }
        }
    }
}
