//! Raft in a simulated network with disks: what it promises, with and without faults.

mod support;

use sim_core::{NodeId, time::ms};
use support::{Cluster, violations};

#[test]
fn a_leader_is_elected_and_all_apply_the_same() {
    let (book, recording) = Cluster::new(5).run();
    assert_eq!(violations(&recording), Vec::<String>::new());
    let [(at, leader, 1)] = book.leaders[..] else { panic!("{:?}", book.leaders) };
    assert!(at.since_start() < ms(310), "{at}");
    let longest = &book.applied[&leader];
    assert!(longest.len() > 450, "{}", longest.len());
    for server in 0..5 {
        let applied = &book.applied[&NodeId(server)];
        assert!(longest.starts_with(applied));
        assert!(longest.len() - applied.len() < 10);
    }
}
