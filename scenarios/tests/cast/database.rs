//! The database: connections, locks, and what is there after a crash.

use std::collections::BTreeMap;

use scenarios::cast::{Answer, Database, DatabaseClient, DatabaseError, Statement};
use sim_core::{
    Sim,
    fault::{DiskFault, Fault, FaultKind, FaultPlan},
    machine::disk::CrashPolicy,
    net::rpc::CallError,
    rng::Delay,
    time::{Duration, Monotonic, ms, secs},
};

use crate::figures::*;

/// So many clients, all of which run the same query at once; when each got its answer, in milliseconds.
fn all_at_once(sim: &mut Sim, db: sim_core::NodeId, clients: u32) -> Notes {
    let notes = Notes::default();
    for client in 0..clients {
        let notes = notes.clone();
        program(sim, &format!("client-{client}"), async move |node| {
            let result = DatabaseClient::new(&node, db).query("anything").await;
            notes.write(&node, result.map_or_else(|e| e.to_string(), |()| client.to_string()));
        });
    }
    notes
}

#[test]
fn no_more_statements_run_than_there_are_connections_and_the_others_wait_in_line() {
    let mut sim = world(1, secs(10));
    let db = Database::new(2).query_time(ms(50)).add_to(&mut sim, "db");
    let notes = all_at_once(&mut sim, db, 6);
    let recording = run(sim);
    // Handshake, round trip: 2 ms. Then two every 50 ms, in order of arrival.
    let expected = [(52, "0"), (52, "1"), (102, "2"), (102, "3"), (152, "4"), (152, "5")];
    assert_eq!(notes.all(), expected.map(|(at, who)| (at * 1_000, who.to_owned())));
    assert_eq!(peak(&recording, "db.active"), 2.0);
    assert_eq!(peak(&recording, "db.queue"), 4.0);
    assert_eq!(peak(&recording, "db.load"), 6.0);
    assert_eq!(peak(&recording, "db.connections"), 2.0);
    assert_eq!((count(&recording, "db.query"), count(&recording, "db.completed")), (6.0, 6.0));
    assert_eq!(last(&recording, "db.load"), 0.0);
    assert_eq!(sorted(&recording, "db.wait"), [0.0, 0.0, 0.05, 0.05, 0.1, 0.1]);
}

#[test]
fn a_full_line_refuses_at_once() {
    let mut sim = world(1, secs(10));
    let db = Database::new(2).query_time(ms(50)).queue(1).add_to(&mut sim, "db");
    let notes = all_at_once(&mut sim, db, 5);
    let recording = run(sim);
    assert_eq!(notes.texts(), ["too many connections", "too many connections", "0", "1", "2"]);
    assert_eq!(notes.all()[0].0, 2_000);
    assert_eq!(count(&recording, "db.refused"), 2.0);
    assert_eq!(count(&recording, "db.query"), 3.0);
}

#[test]
fn queries_share_the_cores() {
    let slowest = |cores: u32| {
        let mut sim = world(1, secs(10));
        let db = Database::new(100).cores(cores).query_time(ms(10)).add_to(&mut sim, "db");
        let notes = all_at_once(&mut sim, db, 16);
        run(sim);
        notes.all().last().unwrap().0
    };
    assert_eq!((slowest(8), slowest(2)), (22_000, 82_000));
}

#[test]
fn an_idle_connection_is_a_place_taken_until_it_is_dropped() {
    let mut sim = world(1, secs(10));
    let db = Database::new(1).query_time(ms(10)).add_to(&mut sim, "db");
    let notes = Notes::default();
    let (holder, waiter) = (notes.clone(), notes.clone());
    program(&mut sim, "holder", async move |node| {
        let connection = DatabaseClient::new(&node, db).connect().await.unwrap();
        holder.write(&node, "connected");
        node.sleep(secs(1)).await;
        drop(connection);
    });
    program(&mut sim, "waiter", async move |node| {
        node.sleep(ms(100)).await;
        let db = DatabaseClient::new(&node, db);
        let patient = db.connect().await.unwrap();
        waiter.write(&node, "connected");
        patient.query("anything").await.unwrap();
    });
    program(&mut sim, "impatient", async move |node| {
        node.sleep(ms(50)).await;
        let db = DatabaseClient::new(&node, db).deadline(ms(500));
        assert_eq!(db.connect().await.err(), Some(DatabaseError::Call(CallError::TimedOut)));
    });
    let recording = run(sim);
    // One round trip to connect, and the greeting comes with its end; the other is greeted one round trip after the drop.
    assert_eq!(notes.all(), [(1_000, "connected".to_owned()), (1_002_000, "connected".to_owned())]);
    assert_eq!(peak(&recording, "db.connections"), 1.0);
    assert_eq!(last(&recording, "db.connections"), 0.0);
    assert_eq!(peak(&recording, "db.queue"), 2.0);
    assert_eq!(last(&recording, "db.queue"), 0.0);
}

#[test]
fn the_connections_of_a_client_that_crashes_are_free_again_and_its_transaction_is_undone() {
    let mut sim = world_with(1, secs(10), fault(secs(2), secs(5), FaultKind::Crash, "doomed"));
    let db = Database::new(1).row("account", "100").add_to(&mut sim, "db");
    program(&mut sim, "doomed", async move |node| {
        if node.incarnation() > 0 {
            return;
        }
        let mut connection = DatabaseClient::new(&node, db).connect().await.unwrap();
        let transaction = connection.begin().await.unwrap();
        transaction.put("account", "0").await.unwrap();
        std::future::pending::<()>().await;
    });
    let notes = Notes::default();
    let noted = notes.clone();
    program(&mut sim, "other", async move |node| {
        node.sleep(secs(1)).await;
        let sum = DatabaseClient::new(&node, db).increment("account", 1).await.unwrap();
        noted.write(&node, sum.to_string());
    });
    let recording = run(sim);
    let (at, sum) = notes.all().remove(0);
    assert_eq!(sum, "101");
    assert!((2_000_000..2_010_000).contains(&at), "{at}");
    assert_eq!(count(&recording, "db.aborts"), 1.0);
}

#[test]
fn a_row_goes_to_those_who_wait_in_their_order() {
    let mut sim = world(1, secs(30));
    let db = Database::new(100).query_time(ms(1)).fsync(ms(4)).add_to(&mut sim, "db");
    let notes = Notes::default();
    for client in 0..5_u64 {
        let notes = notes.clone();
        program(&mut sim, &format!("client-{client}"), async move |node| {
            node.sleep(ms(10) * client).await;
            let mut connection = DatabaseClient::new(&node, db).connect().await.unwrap();
            let transaction = connection.begin().await.unwrap();
            let sum = transaction.increment("counter", 1).await.unwrap();
            notes.write(&node, format!("{client} has {sum}"));
            node.sleep(ms(100)).await;
            transaction.commit().await.unwrap();
        });
    }
    let recording = run(sim);
    assert_eq!(notes.texts(), ["0 has 1", "1 has 2", "2 has 3", "3 has 4", "4 has 5"]);
    // Each holds the row from its grant on: 1 ms of work, the answer and 100 ms at the client and the commit's way to the
    // server, 4.02 ms to write and sync. So they come 106.02 ms apart.
    let times: Vec<u64> = notes.all().into_iter().map(|(at, _)| at).collect();
    assert!(times.windows(2).all(|w| w[1] - w[0] == 106_020), "{times:?}");
    assert_eq!(peak(&recording, "db.locks.waiting"), 4.0);
    assert_eq!(count(&recording, "db.commits"), 5.0);
}

#[test]
fn readers_wait_for_nobody_and_see_only_what_is_committed() {
    let mut sim = world(1, secs(10));
    let db = Database::new(10).row("price", "old").add_to(&mut sim, "db");
    program(&mut sim, "writer", async move |node| {
        let mut connection = DatabaseClient::new(&node, db).connect().await.unwrap();
        let transaction = connection.begin().await.unwrap();
        transaction.put("price", "new").await.unwrap();
        assert_eq!(transaction.get("price").await.unwrap().unwrap().text(), "new");
        node.sleep(secs(2)).await;
        transaction.commit().await.unwrap();
    });
    let notes = Notes::default();
    let noted = notes.clone();
    program(&mut sim, "reader", async move |node| {
        let db = DatabaseClient::new(&node, db);
        for _ in 0..2 {
            node.sleep(secs(1)).await;
            let asked = node.monotonic();
            let row = db.get("price").await.unwrap().unwrap();
            assert!(node.monotonic().since(asked) < ms(4));
            noted.write(&node, format!("{} {}", row.text(), row.version));
            node.sleep(secs(1)).await;
        }
    });
    run(sim);
    assert_eq!(notes.texts(), ["old 1", "new 2"]);
}

#[test]
fn a_transaction_that_is_dropped_is_undone() {
    let mut sim = world(1, secs(10));
    let db = Database::new(10).row("a", "1").add_to(&mut sim, "db");
    program(&mut sim, "client", async move |node| {
        let db = DatabaseClient::new(&node, db);
        let mut connection = db.connect().await.unwrap();
        let transaction = connection.begin().await.unwrap();
        transaction.put("a", "2").await.unwrap();
        drop(transaction);
        // The row is free, and the next transaction of the same connection is not harmed by the late rollback.
        let transaction = connection.begin().await.unwrap();
        assert_eq!(transaction.increment("a", 5).await.unwrap(), 6);
        transaction.commit().await.unwrap();
        assert_eq!(db.get("a").await.unwrap().unwrap().text(), "6");
        let transaction = connection.begin().await.unwrap();
        transaction.delete("a").await.unwrap();
        transaction.rollback().await.unwrap();
        assert!(db.get("a").await.unwrap().is_some());
    });
    assert_eq!(count(&run(sim), "db.aborts"), 2.0);
}

#[test]
fn statements_in_one_message_are_all_or_nothing() {
    let mut sim = world(1, secs(10));
    let db = Database::new(10).row("taken", "x").add_to(&mut sim, "db");
    program(&mut sim, "client", async move |node| {
        let db = DatabaseClient::new(&node, db);
        let put = |key: &str| Statement::Put { key: key.into(), value: b"1".to_vec() };
        let insert = |key: &str| Statement::Insert { key: key.into(), value: b"1".to_vec() };
        let failed = db.execute(vec![put("order:1"), insert("taken")]).await;
        assert_eq!(failed, Err(DatabaseError::Duplicate));
        assert!(db.get("order:1").await.unwrap().is_none());
        let done = db.execute(vec![put("order:2"), insert("outbox:2")]).await.unwrap();
        assert_eq!(done, [Answer::Done, Answer::Done]);
        db.put("order:3", "3").await.unwrap();
        assert!(db.delete("outbox:2").await.unwrap());
        let rows = db.scan("order:", 10).await.unwrap();
        assert_eq!(rows.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["order:2", "order:3"]);
        assert_eq!(db.scan("order:", 1).await.unwrap().len(), 1);
        assert_eq!(db.increment("taken", 1).await, Err(DatabaseError::NotANumber));
        // None of the failures has kept a lock.
        db.put("taken", "2").await.unwrap();
        assert_eq!(db.increment("taken", 1).await.unwrap(), 3);
    });
    run(sim);
}

#[test]
fn a_circle_of_waiters_is_broken_at_once() {
    let mut sim = world(1, secs(10));
    let db = Database::new(10).add_to(&mut sim, "db");
    let notes = Notes::default();
    for (name, first, second) in [("x", "a", "b"), ("y", "b", "a")] {
        let notes = notes.clone();
        program(&mut sim, name, async move |node| {
            let mut connection = DatabaseClient::new(&node, db).connect().await.unwrap();
            let transaction = connection.begin().await.unwrap();
            transaction.put(first, name).await.unwrap();
            node.sleep(ms(100)).await;
            match transaction.put(second, name).await {
                Ok(()) => transaction.commit().await.unwrap(),
                Err(error) => {
                    notes.write(&node, error.to_string());
                    assert_eq!(transaction.commit().await, Err(DatabaseError::NoTransaction));
                }
            }
            notes.write(&node, "over");
        });
    }
    let recording = run(sim);
    assert_eq!(notes.texts(), ["deadlock", "over", "over"]);
    assert!(notes.all().iter().all(|(at, _)| *at < 200_000));
    assert_eq!(count(&recording, "db.deadlocks"), 1.0);
    assert_eq!(count(&recording, "db.commits"), 1.0);
}

#[test]
fn who_waits_too_long_for_a_row_is_undone_and_leaves_the_line() {
    let mut sim = world(1, secs(10));
    let db = Database::new(10).lock_timeout(ms(300)).add_to(&mut sim, "db");
    program(&mut sim, "holder", async move |node| {
        let mut connection = DatabaseClient::new(&node, db).connect().await.unwrap();
        let transaction = connection.begin().await.unwrap();
        transaction.put("row", "1").await.unwrap();
        node.sleep(secs(1)).await;
        transaction.commit().await.unwrap();
    });
    let notes = Notes::default();
    let noted = notes.clone();
    program(&mut sim, "waiter", async move |node| {
        node.sleep(ms(100)).await;
        let db = DatabaseClient::new(&node, db);
        assert_eq!(db.put("row", "2").await, Err(DatabaseError::LockTimedOut));
        noted.write(&node, "timed out");
        node.sleep(secs(1)).await;
        db.put("row", "3").await.unwrap();
    });
    let recording = run(sim);
    assert_eq!(notes.all(), [(402_000, "timed out".to_owned())]);
    assert_eq!(sorted(&recording, "db.lock.wait"), [0.3]);
    assert_eq!(last(&recording, "db.locks.waiting"), 0.0);
}

/// Writers that keep writing, each transaction two rows with the same value; a power failure; then all rows are read.
/// Gives the rows, and the number of the last commit that each writer was told of and of the last that it tried.
fn crash_and_read(seed: u64, policy: CrashPolicy) -> (BTreeMap<String, String>, Vec<(i64, i64)>, f64) {
    let faults = FaultPlan::none()
        .with(Fault::at(ms(0), "what is left", FaultKind::Disk(DiskFault::CrashPolicy(policy))).on("db"))
        .with(Fault::at(ms(2_003), "power", FaultKind::PowerFailure).on("db").lasting(secs(1)))
        .with(Fault::at(ms(4_500), "power again", FaultKind::PowerFailure).on("db").lasting(secs(1)));
    let mut sim = world_with(seed, secs(8), faults);
    let db = Database::new(100).query_time(ms(1)).fsync(ms(5)).row("installed", "yes").add_to(&mut sim, "db");
    let notes = Notes::default();
    for writer in 0..6_i64 {
        let notes = notes.clone();
        program(&mut sim, &format!("writer-{writer}"), async move |node| {
            let db = DatabaseClient::new(&node, db).deadline(secs(1));
            for number in 1.. {
                let put = |side: &str| Statement::Put {
                    key: format!("{writer}:{side}"),
                    value: format!("{number}:{}", "x".repeat(700)).into_bytes(),
                };
                notes.write(&node, format!("{writer} {number} tried"));
                if db.execute(vec![put("left"), put("right")]).await.is_err() {
                    return;
                }
                notes.write(&node, format!("{writer} {number} acked"));
            }
        });
    }
    let rows = Notes::default();
    let read = rows.clone();
    program(&mut sim, "reader", async move |node| {
        node.sleep(secs(4)).await;
        let db = DatabaseClient::new(&node, db);
        for (key, row) in db.scan("", 1_000).await.unwrap() {
            let text = row.text();
            read.write(&node, format!("{key}={}", text.split_once(':').map_or(text.as_str(), |(n, _)| n)));
        }
        // It goes on where it was: after a second crash the new record is found behind the old ones, and nothing is between.
        db.put("after", "1").await.unwrap();
    });
    program(&mut sim, "second reader", async move |node| {
        node.sleep(secs(6)).await;
        let row = DatabaseClient::new(&node, db).get("after").await.unwrap();
        assert!(row.is_some(), "what was acknowledged after the first crash is lost in the second");
    });
    let recording = run(sim);
    let rows =
        rows.texts().iter().map(|t| t.split_once('=').unwrap()).map(|(k, v)| (k.into(), v.into())).collect();
    let last = |writer: i64, what: &str| {
        let numbers = notes.texts().into_iter().filter_map(|text| {
            let mut words = text.split(' ').map(str::to_owned);
            let (who, number, end) = (words.next()?, words.next()?, words.next()?);
            (who == writer.to_string() && end == what).then(|| number.parse::<i64>().unwrap())
        });
        numbers.max().unwrap_or(0)
    };
    let told = (0..6).map(|writer| (last(writer, "acked"), last(writer, "tried"))).collect();
    (rows, told, count(&recording, "db.replayed"))
}

#[test]
fn what_was_acknowledged_survives_a_crash_and_what_was_not_is_whole_or_absent() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..6 {
        for policy in [CrashPolicy::LoseUnsynced, CrashPolicy::KeepPrefix, CrashPolicy::KeepRandomSectors] {
            let (rows, told, replayed) = crash_and_read(seed, policy);
            assert_eq!(rows["installed"], "yes");
            assert!(replayed > 300.0, "{replayed}");
            for (writer, (acked, tried)) in told.into_iter().enumerate() {
                let (left, right) = (&rows[&format!("{writer}:left")], &rows[&format!("{writer}:right")]);
                assert_eq!(left, right, "seed {seed}: a transaction is whole");
                let found: i64 = left.parse().unwrap();
                assert!((acked..=tried).contains(&found), "seed {seed}: {found} of {acked} to {tried}");
                assert_eq!(tried, acked + 1, "each writer had one under way");
                if found == acked { lost += 1 } else { kept += 1 }
            }
        }
    }
    assert!(lost > 0, "a crash in the middle of a sync loses something: {kept} kept, {lost} lost");
}

/// 100 commits by as many clients at once.
fn hundred_commits(together: bool) -> (Vec<f64>, f64, Duration) {
    let mut sim = world(1, secs(30));
    let db = Database::new(200).query_time(ms(1)).fsync(ms(5)).group_commit(together).add_to(&mut sim, "db");
    let notes = Notes::default();
    for client in 0..100 {
        let notes = notes.clone();
        program(&mut sim, &format!("client-{client}"), async move |node| {
            DatabaseClient::new(&node, db).put(&format!("row:{client}"), "x").await.unwrap();
            notes.write(&node, "");
        });
    }
    let recording = run(sim);
    let last = notes.all().last().unwrap().0;
    (sorted(&recording, "db.commit.batch"), count(&recording, "db.commits"), sim_core::time::us(last))
}

#[test]
fn one_sync_serves_all_commits_that_wait_for_it() {
    let (batches, commits, last) = hundred_commits(true);
    assert_eq!((batches.iter().sum::<f64>(), commits), (100.0, 100.0));
    assert!(batches.len() <= 2, "{batches:?}");
    assert!(last < ms(16), "{last}");
    // Alone, each takes 5 ms of the disk: 200 a second.
    let (batches, _, last) = hundred_commits(false);
    assert_eq!(batches, [1.0; 100]);
    assert!((ms(500)..ms(510)).contains(&last), "{last}");
}

#[test]
fn a_commit_waits_for_its_sync_and_a_reader_does_not() {
    let mut sim = world(1, secs(5));
    let db = Database::new(10).query_time(ms(2)).fsync(ms(50)).add_to(&mut sim, "db");
    program(&mut sim, "client", async move |node| {
        let db = DatabaseClient::new(&node, db);
        db.get("warm up the connection").await.unwrap();
        let time = async |future: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
            let asked = node.monotonic();
            future.await;
            node.monotonic().since(asked)
        };
        let (put, get) = (db.clone(), db.clone());
        let written = time(Box::pin(async move { put.put("a", "1").await.unwrap() })).await;
        let read = time(Box::pin(async move { drop(get.get("a").await.unwrap()) })).await;
        assert_eq!(read, ms(3)); // round trip 1 ms, work 2 ms
        assert!(written > ms(53) && written < ms(54), "{written}");
    });
    run(sim);
}

#[test]
fn a_log_that_cannot_be_synced_stops_the_database() {
    let faults = FaultPlan::none()
        .with(Fault::at(secs(1), "sync", FaultKind::Disk(DiskFault::FailSync)).on("db").lasting(secs(2)))
        .with(Fault::at(secs(4), "start", FaultKind::Restart).on("db"));
    let mut sim = world_with(1, secs(9), faults);
    let db = Database::new(10).add_to(&mut sim, "db");
    program(&mut sim, "client", async move |node| {
        let db = DatabaseClient::new(&node, db);
        db.put("before", "1").await.unwrap();
        node.sleep(secs(2)).await;
        assert_eq!(db.put("during", "1").await, Err(DatabaseError::Call(CallError::Reset)));
        assert_eq!(db.get("before").await.err(), Some(DatabaseError::Call(CallError::Refused)));
        node.sleep(secs(3)).await;
        assert!(db.get("before").await.unwrap().is_some());
        assert!(db.get("during").await.unwrap().is_none());
    });
    run(sim);
}

#[test]
fn queries_have_times_of_their_own_and_the_first_on_a_connection_costs_more() {
    let mut sim = world(1, secs(10));
    let db = Database::new(4)
        .query_time(ms(5))
        .time_for("report", Delay::constant(ms(400)))
        .first_query(Delay::constant(ms(30)))
        .row_time(ms(1))
        .rows((0..20).map(|row| (format!("row:{row}"), "x")))
        .add_to(&mut sim, "db");
    program(&mut sim, "client", async move |node| {
        let db = DatabaseClient::new(&node, db);
        let connection = db.connect().await.unwrap();
        let mut spent = node.monotonic();
        let mut lap = || node.monotonic().since(std::mem::replace(&mut spent, node.monotonic()));
        connection.query("anything").await.unwrap();
        assert_eq!(lap(), ms(37)); // the calls' own handshake 1 ms, round trip 1 ms, 30 + 5 ms
        connection.query("report").await.unwrap();
        assert_eq!(lap(), ms(401));
        connection.scan("row:", 10).await.unwrap();
        assert_eq!(lap(), ms(16)); // 5 ms, and ten rows
        assert!(node.monotonic() < Monotonic::ZERO + secs(1));
    });
    run(sim);
}

#[test]
fn a_statement_nobody_waits_for_is_carried_out_unless_the_database_looks() {
    let completed = |skip: bool| {
        let mut sim = world(1, secs(10));
        let db = Database::new(1).query_time(ms(100));
        let db = if skip { db.skip_abandoned() } else { db }.add_to(&mut sim, "db");
        for client in 0..10 {
            program(&mut sim, &format!("client-{client}"), async move |node| {
                let db = DatabaseClient::new(&node, db).deadline(ms(250));
                drop(db.query("anything").await);
            });
        }
        let recording = run(sim);
        (count(&recording, "db.completed"), count(&recording, "db.abandoned"))
    };
    assert_eq!(completed(false), (10.0, 0.0));
    assert_eq!(completed(true), (3.0, 7.0));
}
