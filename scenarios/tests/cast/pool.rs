//! Pools: who gets what is lent, and when.

use scenarios::cast::{ConnectionPool, Database, DatabaseClient, Failure, PoolError};
use sim_core::time::{Monotonic, ms, secs};

use crate::figures::*;

#[test]
fn callers_are_served_in_order_and_no_more_at_a_time_than_there_are_places() {
    let mut sim = world(1, secs(10));
    let notes = Notes::default();
    let noted = notes.clone();
    program(&mut sim, "web", async move |node| {
        let pool = ConnectionPool::slots(&node, 2);
        for caller in 0..6_u64 {
            let (pool, node_, noted) = (pool.clone(), node.clone(), noted.clone());
            node.spawn_detached(async move {
                node_.sleep(ms(caller)).await;
                let _place = pool.get().await.unwrap();
                noted.write(&node_, caller.to_string());
                node_.sleep(ms(100)).await;
            });
        }
        node.sleep(secs(1)).await;
    });
    let recording = run(sim);
    let expected = [(0, "0"), (1_000, "1"), (100_000, "2"), (101_000, "3"), (200_000, "4"), (201_000, "5")];
    assert_eq!(notes.all(), expected.map(|(at, who)| (at, who.to_owned())));
    assert_eq!(peak(&recording, "pool.in_use"), 2.0);
    assert_eq!(peak(&recording, "pool.waiting"), 4.0);
    assert_eq!((last(&recording, "pool.in_use"), last(&recording, "pool.waiting")), (0.0, 0.0));
    assert_eq!(sorted(&recording, "pool.wait"), [0.0, 0.0, 0.098, 0.098, 0.196, 0.196]);
    assert!(sorted(&recording, "pool.held").iter().all(|held| *held == 0.1));
}

#[test]
fn who_waits_too_long_goes_away_and_leaves_the_line() {
    let mut sim = world(1, secs(10));
    let notes = Notes::default();
    let noted = notes.clone();
    program(&mut sim, "web", async move |node| {
        let pool = ConnectionPool::slots(&node, 1).wait_at_most(ms(50));
        let place = pool.get().await.unwrap();
        let impatient = pool.clone();
        let (node_, noted_) = (node.clone(), noted.clone());
        node.spawn_detached(async move {
            assert_eq!(impatient.get().await.err(), Some(PoolError::TimedOut));
            noted_.write(&node_, "timed out");
        });
        node.sleep(ms(60)).await;
        assert_eq!(pool.waiting(), 0);
        drop(place);
        // The place is free at once: nobody who has gone holds it.
        let _again = pool.get().await.unwrap();
        noted.write(&node, "served");
    });
    let recording = run(sim);
    assert_eq!(notes.all(), [(50_000, "timed out".to_owned()), (60_000, "served".to_owned())]);
    assert_eq!(count(&recording, "pool.timed_out"), 1.0);
}

#[test]
fn leaked_places_are_gone_until_they_are_reclaimed() {
    let mut sim = world(1, secs(10));
    let notes = Notes::default();
    let noted = notes.clone();
    program(&mut sim, "web", async move |node| {
        let forgetful = ConnectionPool::slots(&node, 2).wait_at_most(secs(5));
        forgetful.get().await.unwrap().leak();
        forgetful.get().await.unwrap().leak();
        assert!(forgetful.get().await.is_err());
        noted.write(&node, "empty for good");
    });
    program(&mut sim, "mended", async move |node| {
        let pool = ConnectionPool::slots(&node, 1).reclaim_after(secs(2));
        pool.get().await.unwrap().leak();
        let _place = pool.get().await.unwrap();
        assert_eq!(node.monotonic(), Monotonic::ZERO + secs(2));
    });
    let recording = run(sim);
    assert_eq!(notes.texts(), ["empty for good"]);
    assert_eq!(count(&recording, "pool.leaked"), 3.0);
    assert_eq!(count(&recording, "pool.reclaimed"), 1.0);
}

#[test]
fn a_place_whose_filling_fails_is_free_again() {
    let mut sim = world(1, secs(10));
    program(&mut sim, "web", async move |node| {
        let pool = ConnectionPool::<u32>::new(&node, 1, || async { Err::<u32, Failure>("no luck".into()) });
        for _ in 0..3 {
            assert_eq!(pool.get().await.err(), Some(PoolError::Make("no luck".into())));
        }
        assert_eq!(pool.in_use(), 0);
    });
    run(sim);
}

#[test]
fn a_pool_of_connections_keeps_them_and_opens_no_more() {
    let mut sim = world(1, secs(10));
    let db = Database::new(100).query_time(ms(10)).add_to(&mut sim, "db");
    program(&mut sim, "web", async move |node| {
        let pool = DatabaseClient::new(&node, db).pool(3);
        for round in 0..4_u64 {
            for _ in 0..6 {
                let (pool, node_) = (pool.clone(), node.clone());
                node.spawn_detached(async move {
                    node_.sleep(ms(100) * round).await;
                    pool.get().await.unwrap().query("anything").await.unwrap();
                });
            }
        }
        node.sleep(secs(1)).await;
    });
    let recording = run(sim);
    assert_eq!(count(&recording, "db.completed"), 24.0);
    assert_eq!(peak(&recording, "db.connections"), 3.0);
    assert_eq!(peak(&recording, "db.active"), 3.0);
    assert_eq!(last(&recording, "db.connections"), 0.0); // the program is over, and its pool with it
}
