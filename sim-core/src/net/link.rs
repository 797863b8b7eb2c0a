//! What a link does to packets.

use serde::{Deserialize, Serialize};

use crate::{rng::Delay, time::Duration};

/// The properties of the way from one node to another. Both directions are links of their own.
///
/// Values are built step by step: `Link::new(Delay::constant(ms(5))).loss(0.1)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// The one-way delay of each packet.
    pub delay: Delay,
    /// Which packets are lost.
    pub loss: Loss,
    /// The share of datagrams that arrive twice, 0 to 1. The copy has a delay of its own.
    pub duplication: f64,
    /// The share of packets in which one bit flips, 0 to 1. A stream notices and sends again; a datagram arrives damaged.
    pub corruption: f64,
    /// Packets that are held up, so that later ones overtake them.
    pub reordering: Option<Reordering>,
    /// Whether no packet overtakes another.
    pub ordered: bool,
    /// Bytes a second, where the link itself is the bottleneck.
    pub bandwidth: Option<u64>,
    /// How many bytes wait for the link before it drops packets.
    pub queue: u64,
}

/// Which packets a link loses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// None.
    Never,
    /// Each on its own, with that chance from 0 to 1.
    Independent(f64),
    /// In bursts: a two-state chain that moves at each packet (Gilbert 1960, Elliott 1963).
    Bursty {
        /// Chance to go from the good state to the bad one.
        worsens: f64,
        /// Chance to go back. The mean burst is `1 / recovers` packets long.
        recovers: f64,
        /// Loss in the good state.
        good: f64,
        /// Loss in the bad state.
        bad: f64,
    },
}

impl Loss {
    /// The share that is lost now; `bad`: in the bad state of bursty loss.
    pub(super) fn share(&self, bad: bool) -> f64 {
        match *self {
            Self::Never => 0.0,
            Self::Independent(share) => share,
            Self::Bursty { good, bad: in_bad, .. } => {
                if bad {
                    in_bad
                } else {
                    good
                }
            }
        }
    }
}

/// See [`Link::reordering`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reordering {
    /// The share of packets that are held up, 0 to 1.
    pub share: f64,
    /// By how much.
    pub by: Delay,
}

impl Link {
    /// A link that only delays.
    pub fn new(delay: Delay) -> Self {
        Self {
            delay,
            loss: Loss::Never,
            duplication: 0.0,
            corruption: 0.0,
            reordering: None,
            ordered: false,
            bandwidth: None,
            queue: 256 * 1024,
        }
    }
    /// The same delay for each packet.
    pub fn constant(delay: Duration) -> Self {
        Self::new(Delay::constant(delay))
    }
    pub(super) fn only_delays(&self) -> bool {
        self.loss == Loss::Never
            && self.duplication == 0.0
            && self.corruption == 0.0
            && self.reordering.is_none()
            && !self.ordered
            && self.bandwidth.is_none()
    }
    /// Loses each packet with that chance.
    pub fn loss(mut self, chance: f64) -> Self {
        self.loss = if chance > 0.0 { Loss::Independent(chance.min(1.0)) } else { Loss::Never };
        self
    }
    /// Loses packets in bursts of a mean length (in packets, at least 1), a given share in all.
    pub fn bursty_loss(mut self, share: f64, burst: f64) -> Self {
        let recovers = 1.0 / burst.max(1.0);
        let worsens = (share * recovers / (1.0 - share)).clamp(0.0, 1.0);
        self.loss = Loss::Bursty { worsens, recovers, good: 0.0, bad: 1.0 };
        self
    }
    /// Delivers that share of datagrams twice.
    pub fn duplication(mut self, share: f64) -> Self {
        self.duplication = share;
        self
    }
    /// Flips a bit in that share of packets.
    pub fn corruption(mut self, share: f64) -> Self {
        self.corruption = share;
        self
    }
    /// Holds that share of packets up.
    pub fn reordering(mut self, share: f64, by: Delay) -> Self {
        self.reordering = Some(Reordering { share, by });
        self
    }
    /// No packet overtakes another.
    pub fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }
    /// A bottleneck of that many bytes a second with a queue of that many bytes.
    pub fn bandwidth(mut self, bytes_per_second: u64, queue: u64) -> Self {
        self.bandwidth = Some(bytes_per_second.max(1));
        self.queue = queue;
        self
    }
}

impl Default for Link {
    /// Half a millisecond one way: two machines in one building.
    fn default() -> Self {
        Self::constant(crate::time::us(500))
    }
}
