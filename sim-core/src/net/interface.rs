//! A bottleneck with a bounded queue: a node's network interface, or a link with a bandwidth.

use crate::time::{Duration, SimTime};

/// Sends one packet after the other at a fixed rate; drops what finds its queue full (tail drop).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interface {
    bandwidth: u64,
    queue: u64,
    busy_until: SimTime,
}

impl Interface {
    pub(crate) fn new(bandwidth: Option<u64>, queue: Option<u64>) -> Option<Box<Self>> {
        let bandwidth = bandwidth?;
        Some(Box::new(Self { bandwidth, queue: queue.unwrap_or(256 * 1024), busy_until: SimTime::ZERO }))
    }
    /// When the last bit of a packet of that size has left; `None` where the queue has no room for it.
    pub(crate) fn enqueue(&mut self, now: SimTime, size: u64) -> Option<SimTime> {
        let waiting = self.busy_until.since(now);
        let backlog = (u128::from(waiting.as_nanos()) * u128::from(self.bandwidth) / 1_000_000_000) as u64;
        if backlog > 0 && backlog + size > self.queue {
            return None;
        }
        let time = u128::from(size) * 1_000_000_000 / u128::from(self.bandwidth);
        self.busy_until = now + waiting + Duration::from_nanos(time as u64);
        Some(self.busy_until)
    }
    /// Forgets what was queued: the node has crashed.
    pub(crate) fn reset(&mut self, now: SimTime) {
        self.busy_until = now;
    }
    pub(crate) fn is(&self, bandwidth: u64, queue: u64) -> bool {
        self.bandwidth == bandwidth && self.queue == queue
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::secs;

    #[test]
    fn a_kilobyte_a_second_sends_two_packets_of_500_bytes_and_drops_what_has_no_room() {
        let mut interface = Interface::new(Some(1_000), Some(700)).unwrap();
        assert_eq!(interface.enqueue(SimTime::ZERO, 500), Some(SimTime::ZERO + secs(1) / 2));
        assert_eq!(interface.enqueue(SimTime::ZERO, 200), Some(SimTime::ZERO + secs(7) / 10));
        assert_eq!(interface.enqueue(SimTime::ZERO, 500), None);
        assert_eq!(interface.enqueue(SimTime::ZERO + secs(7) / 10, 500), Some(SimTime::ZERO + secs(12) / 10));
    }
}
