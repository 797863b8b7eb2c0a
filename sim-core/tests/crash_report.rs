//! What a crash did to a disk stays on the node's timeline while it is down.

use sim_core::{
    NodeSpec, Sim,
    fault::{Fault, FaultKind, FaultPlan},
    machine::DiskSpec,
    plan::Plan,
    record::RecordingLevel,
    time::secs,
};

#[test]
fn what_a_power_failure_took_can_be_read_on_the_timeline() {
    let failure = Fault::at(secs(1), "power failure", FaultKind::PowerFailure).on("store");
    let plan = Plan::new("crash", 1, secs(3)).with_faults(FaultPlan::none().with(failure));
    let mut sim = Sim::new(&plan, RecordingLevel::Essential);
    sim.node(NodeSpec::new("store").disk(DiskSpec::default()), async |node| {
        node.file("log").append(b"never synced").await.expect("the disk has room");
        std::future::pending::<()>().await;
    });
    let recording = sim.run().expect("the plan fits the world");
    let report: Vec<&str> = recording
        .states
        .iter()
        .filter(|change| recording.text(change.key) == "disk after crash")
        .map(|change| recording.text(change.value))
        .collect();
    assert_eq!(report, ["1 writes lost, 0 torn, 0 kept"]);
}
