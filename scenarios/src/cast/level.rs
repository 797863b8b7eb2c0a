//! Gauges that count who is inside: raised on the way in, lowered on the way out, whichever way that is.

use std::rc::Rc;

use sim_core::{Node, record::Gauge};

/// A gauge that several tasks of a node raise and lower.
#[derive(Clone)]
pub(super) struct Level {
    gauge: Rc<Gauge>,
}

impl Level {
    /// The node's gauge of that name, at 0: also after a restart, where the recording still shows the level before the crash.
    pub(super) fn new(node: &Node, name: &str) -> Self {
        let gauge = node.gauge(name);
        gauge.set(0.0);
        Self { gauge: Rc::new(gauge) }
    }
    /// Counts one more, until what is returned is dropped.
    pub(super) fn enter(&self) -> Inside {
        self.gauge.add(1.0);
        Inside { level: self.clone() }
    }
    /// How many are inside.
    pub(super) fn count(&self) -> usize {
        self.gauge.level() as usize
    }
    pub(super) fn set(&self, level: f64) {
        self.gauge.set(level);
    }
}

/// One that is inside. A future that is dropped half way takes it along, so nobody is counted for ever.
pub(super) struct Inside {
    level: Level,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.level.gauge.add(-1.0);
    }
}
