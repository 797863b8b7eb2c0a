//! The replicated store: what it has acknowledged stays, what it reads is fresh, and the switches that break it.

use std::collections::BTreeSet;

use consensus::raft::{Config, Rejection, observer};
use scenarios::cast::{
    APPLIED_ONCE, KV_ADMIN_PORT, KvAdmin, KvAdminResponse, KvClient, KvRead, KvStore, KvValue, PROGRESS,
};
use sim_core::{
    NodeId, Sim,
    fault::{Fault, FaultKind, FaultPlan, PacketAction, PacketRule, Partition, Target},
    machine::DiskSpec,
    protocol::Durability,
    record::{OperationOutcome, Recording},
    time::{Duration, SimTime, ms, secs},
};

use crate::figures::*;

const ALL: [KvRead; 4] = [KvRead::Local, KvRead::Log, KvRead::ReadIndex, KvRead::Lease];

/// The properties that did not hold.
fn broken(recording: &Recording) -> Vec<&str> {
    recording.properties.iter().filter(|p| !p.held()).map(|p| p.name.as_str()).collect()
}
/// The numbers that a function gave, each with when it was asked and answered.
fn answers(recording: &Recording, function: &str) -> Vec<(SimTime, SimTime, i64)> {
    let all = recording.operations.iter().filter(|o| recording.text(o.function) == function);
    let answered = all.filter_map(|o| match &o.outcome {
        OperationOutcome::Ok(output) => Some((o.invoked, o.completed, recording.text(*output).parse().ok()?)),
        _ => None,
    });
    answered.collect()
}
/// A client that increments a counter, one after the other, for as long as it lives.
fn counting(sim: &mut Sim, name: &str, number: u32, servers: &[NodeId], pause: Duration) {
    let servers = servers.to_vec();
    program(sim, name, async move |node| {
        let client = KvClient::new(&node, &servers, number).check_progress();
        loop {
            let _ = client.increment("counter", 1).await;
            node.sleep(pause).await;
        }
    });
}
fn leader(at: Duration, lasts: Duration, what: impl Into<FaultKind>) -> FaultPlan {
    let fault = Fault::at(at, "the fault", what).on(Target::role("leader"));
    FaultPlan::none().with(fault.lasting(lasts))
}

#[test]
fn every_operation_works_with_every_kind_of_read() {
    for read in ALL {
        let mut sim = world(1, secs(5));
        let servers = KvStore::new(3).read(read).observed().add_to(&mut sim, "server");
        let notes = Notes::default();
        let log = notes.clone();
        program(&mut sim, "client", async move |node| {
            let client = KvClient::new(&node, &servers, 1).check_progress();
            assert_eq!(client.read("a").await, Ok(None));
            assert_eq!(client.write("a", "text").await, Ok(()));
            assert_eq!(client.read("a").await, Ok(Some(KvValue::from("text"))));
            assert_eq!(client.compare_and_set("a", None, 1).await, Ok(false));
            assert_eq!(client.compare_and_set("a", Some("text".into()), 1).await, Ok(true));
            assert_eq!(client.increment("a", 41).await, Ok(42));
            assert_eq!(client.append("list", 7).await, Ok(()));
            assert_eq!(client.append("list", 8).await, Ok(()));
            assert_eq!(client.read("list").await, Ok(Some(KvValue::List(vec![7, 8]))));
            assert!(client.append("a", 8).await.is_ok(), "it was not done, and that is certain");
            log.write(&node, "done");
        });
        let recording = run(sim);
        assert_eq!(notes.texts(), ["done"], "{read:?}");
        assert_eq!(recording.operations.len(), 10);
        assert_eq!(broken(&recording), Vec::<&str>::new());
    }
}

#[test]
fn a_crash_of_the_leader_loses_no_increment_and_doubles_none() {
    for seed in 1..=5 {
        let faults = leader(secs(2), secs(1), FaultKind::Crash);
        let mut sim = world_with(seed, secs(6), faults);
        let servers = KvStore::new(3).observed().add_to(&mut sim, "server");
        counting(&mut sim, "client", 1, &servers, ms(5));
        let recording = run(sim);
        assert_eq!(broken(&recording), Vec::<&str>::new());
        let sums: Vec<i64> = answers(&recording, "increment").iter().map(|(.., sum)| *sum).collect();
        assert!(sums.len() > 300, "{}", sums.len());
        assert_eq!(sums, (1..=sums.len() as i64).collect::<Vec<_>>(), "each once, in order");
    }
}

/// One reply of the leader is lost, and the client asks again.
fn retry(sessions: bool) -> Recording {
    let rule = PacketRule::all(PacketAction::Drop).between("server", "client").kind("Answered");
    let faults = FaultPlan::none().with(Fault::at(secs(2), "no replies", rule).lasting(ms(600)));
    let mut sim = world_with(3, secs(6), faults);
    let servers = KvStore::new(3).sessions(sessions).observed().add_to(&mut sim, "server");
    counting(&mut sim, "client", 1, &servers, ms(50));
    run(sim)
}

#[test]
fn an_operation_that_is_asked_again_is_applied_once_thanks_to_sessions() {
    let recording = retry(true);
    assert_eq!(broken(&recording), Vec::<&str>::new());
    assert!(count(&recording, "kv.repeated") >= 3.0);
    let sums: Vec<i64> = answers(&recording, "increment").iter().map(|(.., sum)| *sum).collect();
    assert_eq!(sums, (1..=sums.len() as i64).collect::<Vec<_>>());

    let recording = retry(false);
    assert!(broken(&recording).contains(&APPLIED_ONCE));
    let sums: Vec<i64> = answers(&recording, "increment").iter().map(|(.., sum)| *sum).collect();
    assert!(*sums.last().unwrap() > sums.len() as i64, "some counted twice: {sums:?}");
}

#[test]
fn a_power_cut_of_all_takes_only_what_was_never_synced() {
    for (durability, survives) in [(Durability::BeforeAnswers, true), (Durability::Every(secs(120)), false)] {
        let cut = Fault::at(secs(3), "power cut", FaultKind::PowerFailure).on(Target::group("server"));
        let mut sim = world_with(1, secs(8), FaultPlan::none().with(cut.lasting(secs(1))));
        let store = KvStore::new(5).raft(move |config| Config { durability, ..config }).observed();
        let servers = store.add_to(&mut sim, "server");
        counting(&mut sim, "client", 1, &servers, ms(5));
        let recording = run(sim);
        let answers = answers(&recording, "increment");
        let cut = SimTime::ZERO + secs(3);
        let before = answers.iter().filter(|(_, end, _)| *end < cut).map(|(.., sum)| *sum).max().unwrap();
        let after = answers.iter().filter(|(start, ..)| *start > cut).map(|(.., sum)| *sum).min().unwrap();
        assert!(before > 200, "{before}");
        if survives {
            assert!(after > before, "{after} after {before}");
            assert_eq!(broken(&recording), Vec::<&str>::new());
        } else {
            assert!(after < 10, "all is gone: {after}");
            assert!(broken(&recording).contains(&observer::STATE_MACHINE_SAFETY), "{:?}", broken(&recording));
        }
        // What a power failure would leave is known all the time.
        let synced = peak(&recording, "raft.log_synced");
        assert!(if survives { synced > 200.0 } else { synced == 0.0 }, "{synced}");
    }
}

/// A client next to the leader is cut off together with it; the others write on. How many stale reads does it get, and
/// when is it answered last before the cut ends?
fn cut_off(read: KvRead, check_quorum: bool, drift_ppm: f64, flaws: bool) -> (usize, Duration) {
    let (start, end) = (secs(3), secs(7));
    let mut stale = 0;
    let mut last = Duration::ZERO;
    // Who leads is known after a first run of the same seed without the cut.
    for cut in [false, true] {
        let mut faults = FaultPlan::none();
        if cut {
            let group = vec![
                vec!["server-0".into(), "near".into()],
                vec!["server-1".into(), "server-2".into(), "far".into()],
            ];
            faults.push(Fault::at(start, "cut", Partition::Split(group)).until(end));
            let slow = FaultKind::ClockDrift(-drift_ppm);
            faults.push(Fault::at(Duration::ZERO, "slow clock", slow).on("server-0"));
        }
        let mut sim = world_with(1, secs(9), faults);
        let store = KvStore::new(3).read(read).raft(move |config| {
            let config = Config { check_quorum, stickiness: true, ..config };
            if flaws { Config { drift_bound: 0, ..config } } else { config }
        });
        let servers = store.add_to(&mut sim, "server");
        let (near, far, operator) = (servers.clone(), servers.clone(), servers.clone());
        program(&mut sim, "operator", async move |node| {
            loop {
                // Server 0 shall lead before the cut.
                node.sleep(ms(400)).await;
                if node.observer().now().since_start() > secs(2) {
                    return;
                }
                for &server in &operator {
                    let transfer = KvAdmin::TransferLeadership { target: operator[0] };
                    let _ = node.call(server, &transfer).port(KV_ADMIN_PORT).deadline(ms(50)).await;
                }
            }
        });
        program(&mut sim, "near", async move |node| {
            let client = KvClient::new(&node, &near, 1).only(near[0]).patience(ms(100));
            loop {
                let _ = client.read("counter").await;
                node.sleep(ms(20)).await;
            }
        });
        counting(&mut sim, "far", 2, &far, ms(20));
        let recording = run(sim);
        if cut {
            let writes = answers(&recording, "increment");
            let reads = answers(&recording, "read");
            for (asked, answered, value) in reads {
                let newest = writes.iter().filter(|(_, end, _)| *end < asked).map(|(.., sum)| *sum).max();
                stale += usize::from(newest.is_some_and(|newest| value < newest));
                if answered < SimTime::ZERO + end {
                    last = last.max(answered.since_start());
                }
            }
        }
    }
    (stale, last.saturating_sub(start))
}

#[test]
fn a_leader_that_is_cut_off_gives_stale_reads_unless_it_makes_sure() {
    let (stale, _) = cut_off(KvRead::Local, false, 0.0, false);
    // 4 s at 45 reads/s, less the second at most that the others need for an election.
    assert!(stale > 100, "{stale}");
    for read in [KvRead::Log, KvRead::ReadIndex] {
        let (stale, last) = cut_off(read, true, 0.0, false);
        assert_eq!(stale, 0, "{read:?}");
        assert!(last < ms(50), "{read:?}: answered until {last} after the cut");
    }
    let (stale, last) = cut_off(KvRead::Lease, true, 0.0, false);
    assert_eq!(stale, 0);
    assert!(last < ms(200), "a lease of 147 ms: answered until {last} after the cut");
    assert!(last > ms(50), "a lease of 147 ms: answered until {last} after the cut");
}

#[test]
fn a_server_that_was_away_gets_a_snapshot_and_its_sessions() {
    let away = Fault::at(secs(2), "away", FaultKind::Crash).on("server-2").lasting(secs(3));
    let restart = Fault::at(secs(6), "restart", FaultKind::Restart).on("server-1");
    let mut sim = world_with(2, secs(8), FaultPlan::none().with(away).with(restart));
    let store =
        KvStore::new(3).compact_after(Some(50)).raft(|config| Config { keep: 10, ..config }).observed();
    let servers = store.replay_time(ms(1)).add_to(&mut sim, "server");
    counting(&mut sim, "client", 1, &servers, ms(5));
    let recording = run(sim);
    assert_eq!(broken(&recording), Vec::<&str>::new());
    let installed = recording.properties.iter().any(|p| p.name == observer::INSTALLED && p.held());
    assert!(installed, "{:?}", points(&recording, "raft.snapshot_index"));
    assert!(count(&recording, "kv.snapshots") > 10.0);
    assert!(peak(&recording, "raft.log_bytes") < 20_000.0, "{}", peak(&recording, "raft.log_bytes"));
    // At most 60 entries at 1 ms each, and what it takes to hear of the commit.
    let replays = sorted(&recording, "kv.replay");
    assert!(!replays.is_empty() && *replays.last().unwrap() < 0.5, "{replays:?}");
    let sums: Vec<i64> = answers(&recording, "increment").iter().map(|(.., sum)| *sum).collect();
    assert_eq!(sums, (1..=sums.len() as i64).collect::<Vec<_>>());
}

#[test]
fn an_operator_adds_a_server_and_removes_another() {
    for joint in [false, true] {
        let mut sim = world(1, secs(6));
        let servers = KvStore::new(3).spare(1).observed().add_to(&mut sim, "server");
        counting(&mut sim, "client", 1, &servers[..3], ms(10));
        let notes = Notes::default();
        let log = notes.clone();
        let all = servers.clone();
        program(&mut sim, "operator", async move |node| {
            node.sleep(secs(1)).await;
            let set = |numbers: &[usize]| numbers.iter().map(|&n| all[n]).collect::<BTreeSet<_>>();
            let steps =
                [(set(&[0, 1, 2]), set(&[3])), (set(&[0, 1, 2, 3]), set(&[])), (set(&[1, 2, 3]), set(&[]))];
            for (voters, learners) in steps {
                for &server in all.iter().cycle() {
                    let change = KvAdmin::ChangeMembership {
                        voters: voters.clone(),
                        learners: learners.clone(),
                        joint,
                    };
                    let answer = node.call(server, &change).port(KV_ADMIN_PORT).deadline(ms(500)).await;
                    match answer {
                        Ok(KvAdminResponse::Accepted { at }) => {
                            log.write(&node, format!("{}", at.term));
                            break;
                        }
                        Ok(KvAdminResponse::Rejected { reason: Rejection::NotLeader { .. } }) => {}
                        other => panic!("{other:?}"),
                    }
                }
                node.sleep(secs(1)).await;
            }
        });
        let recording = run(sim);
        assert_eq!(notes.texts().len(), 3);
        assert!(!broken(&recording).contains(&PROGRESS));
        let config: Vec<&str> = recording
            .states
            .iter()
            .filter(|s| recording.text(s.key) == "config")
            .map(|s| recording.text(s.value))
            .collect();
        assert_eq!(config.last(), Some(&"n1,n2,n3"));
        assert_eq!(config.contains(&"n0,n1,n2,n3>n1,n2,n3"), joint);
    }
}

#[test]
fn the_price_of_a_sync_is_one_sync() {
    // Round trip of the client and of the entry, 0.5 ms each way: 2 ms, and 2 ms for a sync beside those of the others.
    for (durability, least, most) in
        [(Durability::BeforeAnswers, 0.004, 0.004_3), (Durability::Every(secs(120)), 0.002, 0.002_3)]
    {
        let mut sim = world(1, secs(4));
        let disk = DiskSpec { fsync: ms(2), ..DiskSpec::default() };
        let store = KvStore::new(5).raft(move |config| Config { durability, ..config });
        let store = store.machine(move |m| m.disk(disk));
        let servers = store.add_to(&mut sim, "server");
        counting(&mut sim, "client", 1, &servers, ms(20));
        let recording = run(sim);
        let mut times: Vec<f64> = answers(&recording, "increment")
            .iter()
            .map(|(asked, answered, _)| answered.since(*asked).as_secs_f64())
            .collect();
        times.sort_by(f64::total_cmp);
        let median = quantile(&times, 0.5);
        assert!(median >= least && median <= most, "{durability:?}: {median}");
    }
}
