//! A monitor: a node that hears the heartbeats of others and says who is dead.
//!
//! What it says of a node is the monitor's state under that node's name, `alive` or `dead`; `run.alarms("dead")` holds it
//! against what really happened.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use membership::{
    Detector, Heartbeat,
    heartbeat::{Config, Event},
};
use sim_core::{Node, NodeId, Sim, time::ms};

/// See the module. It looks at its gauges every 50 ms.
///
/// Metrics: gauges `phi` and `limit` (how suspicious the silence of the first watched node is, and how long it may last; phi
/// is 0 for a time-out); histogram `limit.at_alarm`, the limit that was passed at each alarm.
#[derive(Clone, Copy, Debug)]
pub struct Monitor {
    detector: Detector,
    alarms_at_most: Option<(&'static str, u32)>,
    dead_in_the_end: Option<(&'static str, usize)>,
}

impl Monitor {
    /// A monitor that judges silences like that.
    pub fn new(detector: Detector) -> Self {
        Self { detector, alarms_at_most: None, dead_in_the_end: None }
    }
    /// States a property of the run, `always`: no node is called dead more often than that.
    pub fn always_at_most(mut self, statement: &'static str, alarms: u32) -> Self {
        self.alarms_at_most = Some((statement, alarms));
        self
    }
    /// States a property of the run, `eventually`: from some time on so many are called dead. Checked every 50 ms.
    pub fn eventually_dead(mut self, statement: &'static str, nodes: usize) -> Self {
        self.dead_in_the_end = Some((statement, nodes));
        self
    }
    /// Adds the monitor of a service. Its nodes, which may be added later, send to it: `Config::sender([monitor], period)`.
    pub fn add_to(self, sim: &mut Sim, name: &str, service: &'static str) -> NodeId {
        sim.node(name, async move |node| self.watch(node, service).await)
    }

    async fn watch(self, node: Node, service: &str) {
        let watched = node.service(service);
        let (first, limit_at_alarm) = (watched.first().copied(), node.histogram("limit.at_alarm"));
        for &one in &watched {
            node.state(&node.name_of(one), "alive");
        }
        let hosted = node.host::<Heartbeat>(Config::monitor(watched, self.detector)).await;
        // How often each was called dead, and whether it is now.
        let alarms: Rc<RefCell<BTreeMap<NodeId, (u32, bool)>>> = Rc::default();
        let (monitor, watching, mut ticks) = (node.clone(), hosted.clone(), node.ticks(ms(50)));
        let (phi, limit, now) = (node.gauge("phi"), node.gauge_in("limit", "s"), Rc::clone(&alarms));
        node.spawn_detached(async move {
            loop {
                ticks.tick().await;
                watching.inspect(|judge| {
                    let Some(first) = first else { return };
                    phi.set(judge.phi(first, monitor.monotonic()).unwrap_or(0.0));
                    limit.set(judge.limit(first).unwrap_or_default().as_secs_f64());
                });
                if let Some((statement, nodes)) = self.dead_in_the_end {
                    let dead = now.borrow().values().filter(|one| one.1).count();
                    monitor.eventually(statement, dead == nodes, || format!("{dead} are called dead"));
                }
            }
        });
        loop {
            match hosted.next().await {
                Event::Suspected(who) => {
                    node.state(&node.name_of(who), "dead");
                    limit_at_alarm.record(hosted.inspect(|judge| judge.limit(who)).unwrap_or_default());
                    let mut alarms = alarms.borrow_mut();
                    let (times, dead) = alarms.entry(who).or_default();
                    (*times, *dead) = (*times + 1, true);
                    if let Some((statement, most)) = self.alarms_at_most {
                        node.always(statement, *times <= most, || {
                            format!("{} for the {times}th time", node.name_of(who))
                        });
                    }
                }
                Event::Alive(who) => {
                    node.state(&node.name_of(who), "alive");
                    alarms.borrow_mut().entry(who).or_default().1 = false;
                }
            }
        }
    }
}
