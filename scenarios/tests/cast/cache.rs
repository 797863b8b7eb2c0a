//! The cache server: what it keeps, for how long, and who may fill it.

use scenarios::cast::{CacheClient, CacheError, CacheServer, Item, Lookup};
use sim_core::{
    Node,
    fault::FaultKind,
    net::rpc::CallError,
    record::Recording,
    time::{Monotonic, ms, secs, us},
};

use crate::figures::*;

/// A cache, and a program with a client of it. A call takes a handshake of 1 ms the first time, then 0.5 ms there, 0.2 ms at
/// the server, 0.5 ms back.
fn with_cache(server: CacheServer, code: impl AsyncFn(Node, CacheClient) + Send + 'static) -> Recording {
    let mut sim = world(1, secs(60));
    let cache = server.add_to(&mut sim, "cache");
    program(&mut sim, "web", async move |node| {
        let client = CacheClient::new(&node, cache);
        code(node, client).await;
    });
    run(sim)
}

#[test]
fn a_value_lives_exactly_as_long_as_it_was_told() {
    let server = CacheServer::new().prefill("hot", Item::new("page").ttl(secs(4)).cost(ms(52)));
    let recording = with_cache(server, async |node, cache| {
        cache.get("warm up the connection").await.unwrap();
        // The operation is carried out 0.7 ms after the call: one nanosecond before the expiry, and at it.
        let at = Monotonic::ZERO + secs(4) - us(700);
        node.sleep_until(at - us(2_000)).await;
        let found = cache.get("hot").await.unwrap().unwrap();
        assert_eq!((found.value.as_slice(), found.ttl_left, found.cost), (&b"page"[..], Some(ms(2)), ms(52)));
        node.sleep_until(at - sim_core::time::ns(1)).await;
        assert_eq!(cache.get("hot").await.unwrap().unwrap().ttl_left, Some(sim_core::time::ns(1)));
        cache.set("other", Item::new("x").ttl(ms(100))).await.unwrap();
        let stored = node.monotonic() - us(500);
        node.sleep_until(stored + ms(100) - us(700)).await;
        assert_eq!(cache.get("other").await.unwrap(), None);
    });
    assert_eq!(count(&recording, "cache.hits"), 2.0);
    assert_eq!(count(&recording, "cache.misses"), 2.0);
    assert_eq!(count(&recording, "cache.expired"), 2.0);
    assert_eq!(last(&recording, "cache.entries"), 0.0);
    assert_eq!(last(&recording, "cache.bytes"), 0.0);
}

#[test]
fn touching_prolongs_a_life() {
    with_cache(CacheServer::new(), async |node, cache| {
        cache.set("session", Item::new("me").ttl(secs(2))).await.unwrap();
        for _ in 0..5 {
            node.sleep(secs(1)).await;
            assert!(cache.touch("session", secs(2)).await.unwrap());
        }
        node.sleep(secs(3)).await;
        assert!(!cache.touch("session", secs(2)).await.unwrap());
    });
}

#[test]
fn of_many_who_set_an_absent_key_one_does() {
    let mut sim = world(1, secs(10));
    let cache = CacheServer::new().add_to(&mut sim, "cache");
    let notes = Notes::default();
    for who in 0..8 {
        let notes = notes.clone();
        program(&mut sim, &format!("web-{who}"), async move |node| {
            let cache = CacheClient::new(&node, cache);
            let won = cache.set_if_absent("lock", Item::new(who.to_string()).ttl(secs(5))).await.unwrap();
            if won {
                notes.write(&node, who.to_string());
            }
            node.sleep(secs(1)).await;
            // Only the holder's own value gives it back.
            let holder = notes.texts()[0] == who.to_string();
            assert_eq!(cache.delete_if_equal("lock", who.to_string()).await.unwrap(), holder);
        });
    }
    let recording = run(sim);
    assert_eq!(notes.texts().len(), 1);
    assert_eq!(count(&recording, "cache.sets"), 1.0);
    assert_eq!(count(&recording, "cache.refused"), 7.0);
}

#[test]
fn the_least_recently_used_leave_when_the_memory_is_full() {
    // Three entries of 64 + 1 + 35 = 100 bytes fit into 300.
    let server = CacheServer::new().memory(300);
    let recording = with_cache(server, async |_, cache| {
        let value = || Item::new(vec![0; 35]);
        for key in ["a", "b", "c"] {
            cache.set(key, value()).await.unwrap();
        }
        cache.get("a").await.unwrap(); // now b is the oldest
        cache.set("d", value()).await.unwrap();
        let there = async |key: &str| cache.get(key).await.unwrap().is_some();
        assert_eq!((there("b").await, there("a").await), (false, true));
        // A large one takes the place of two: c and d were used before a.
        cache.set("e", Item::new(vec![0; 100])).await.unwrap();
        assert_eq!((there("c").await, there("d").await, there("a").await), (false, false, true));
        assert_eq!(cache.set("f", Item::new(vec![0; 300])).await, Err(CacheError::TooLarge));
    });
    assert_eq!(count(&recording, "cache.evictions"), 3.0);
    assert_eq!(peak(&recording, "cache.bytes"), 300.0);
    assert_eq!(peak(&recording, "cache.entries"), 3.0);
}

#[test]
fn the_number_of_entries_can_be_limited_too() {
    let mut server = CacheServer::new().entries(100);
    for page in 0..250 {
        server = server.prefill(format!("page:{page}"), Item::new("x"));
    }
    let recording = with_cache(server, async |_, cache| {
        assert!(cache.get("page:149").await.unwrap().is_none());
        assert!(cache.get("page:150").await.unwrap().is_some());
    });
    assert_eq!(peak(&recording, "cache.entries"), 100.0);
}

#[test]
fn one_thread_takes_one_operation_after_the_other() {
    let mut sim = world(1, secs(10));
    let cache = CacheServer::new().operation(ms(2)).add_to(&mut sim, "cache");
    let notes = Notes::default();
    for who in 0..5 {
        let notes = notes.clone();
        program(&mut sim, &format!("web-{who}"), async move |node| {
            CacheClient::new(&node, cache).get("hot").await.unwrap();
            notes.write(&node, "");
        });
    }
    let recording = run(sim);
    // Handshake and round trip take 2 ms; then one answer every 2 ms.
    let times: Vec<u64> = notes.all().into_iter().map(|(at, _)| at).collect();
    assert_eq!(times, [4_000, 6_000, 8_000, 10_000, 12_000]);
    assert_eq!(peak(&recording, "cache.queue"), 5.0);
}

#[test]
fn a_miss_gives_one_lease_and_tells_the_others_to_wait() {
    let server = CacheServer::new().lease_time(ms(200));
    let recording = with_cache(server, async |node, cache| {
        let Lookup::Fill { lease, stale: None } = cache.get_or_lease("hot").await.unwrap() else { panic!() };
        assert_eq!(cache.get_or_lease("hot").await.unwrap(), Lookup::Wait { stale: None });
        // Nobody has filled it for 200 ms: another one may. The first lease is void then.
        node.sleep(ms(200)).await;
        let Lookup::Fill { lease: second, .. } = cache.get_or_lease("hot").await.unwrap() else { panic!() };
        assert!(!cache.set_leased("hot", Item::new("late"), lease).await.unwrap());
        assert!(cache.set_leased("hot", Item::new("new"), second).await.unwrap());
        let Lookup::Hit(found) = cache.get_or_lease("hot").await.unwrap() else { panic!() };
        assert_eq!(found.value, b"new");
        assert!(
            !cache.set_leased("hot", Item::new("again"), second).await.unwrap(),
            "a lease is for one fill"
        );
    });
    assert_eq!(count(&recording, "cache.leases"), 2.0);
    assert_eq!(count(&recording, "cache.waits"), 1.0);
    assert_eq!(count(&recording, "cache.refused"), 2.0);
}

#[test]
fn a_delete_voids_the_lease_so_that_an_old_value_cannot_come_back() {
    with_cache(CacheServer::new(), async |_, cache| {
        let Lookup::Fill { lease, .. } = cache.get_or_lease("price").await.unwrap() else { panic!() };
        cache.delete("price").await.unwrap(); // the price has changed meanwhile
        assert!(!cache.set_leased("price", Item::new("old"), lease).await.unwrap());
        assert!(cache.get("price").await.unwrap().is_none());
        assert!(matches!(cache.get_or_lease("price").await.unwrap(), Lookup::Fill { .. }));
    });
}

#[test]
fn an_expired_value_is_handed_out_while_somebody_fills() {
    let server = CacheServer::new().keep_stale(secs(10)).prefill("hot", Item::new("old").ttl(secs(1)));
    let recording = with_cache(server, async |node, cache| {
        node.sleep(secs(1)).await;
        assert!(cache.get("hot").await.unwrap().is_none(), "a plain look-up gets no stale value");
        let Lookup::Fill { lease, stale: Some(old) } = cache.get_or_lease("hot").await.unwrap() else {
            panic!()
        };
        assert_eq!((old.value.as_slice(), old.ttl_left), (&b"old"[..], Some(ms(0))));
        let Lookup::Wait { stale: Some(_) } = cache.get_or_lease("hot").await.unwrap() else { panic!() };
        cache.set_leased("hot", Item::new("new").ttl(secs(30)), lease).await.unwrap();
        // What is deleted is stale too, for a while.
        assert!(cache.delete("hot").await.unwrap());
        let Lookup::Fill { stale: Some(new), .. } = cache.get_or_lease("hot").await.unwrap() else {
            panic!()
        };
        assert_eq!(new.value, b"new");
        node.sleep(secs(10)).await;
        let Lookup::Fill { stale: None, .. } = cache.get_or_lease("hot").await.unwrap() else { panic!() };
    });
    assert_eq!(count(&recording, "cache.stale"), 3.0);
}

#[test]
fn a_lower_version_never_replaces_a_higher_one() {
    with_cache(CacheServer::new(), async |_, cache| {
        let item = |text: &str, version| Item::new(text).version(version);
        assert!(cache.set_if_not_older("price", item("second", 2)).await.unwrap());
        assert!(!cache.set_if_not_older("price", item("first", 1)).await.unwrap());
        cache.delete_version("price", 3).await.unwrap();
        assert!(cache.get("price").await.unwrap().is_none());
        assert!(!cache.set_if_not_older("price", item("second", 2)).await.unwrap());
        assert!(cache.set_if_not_older("price", item("third", 3)).await.unwrap());
        assert!(!cache.delete_version("price", 2).await.unwrap());
        assert_eq!(cache.get("price").await.unwrap().unwrap().value, b"third");
    });
}

#[test]
fn counters_count_in_one_place() {
    let mut sim = world(1, secs(20));
    let cache = CacheServer::new().add_to(&mut sim, "cache");
    for who in 0..4 {
        program(&mut sim, &format!("web-{who}"), async move |node| {
            let cache = CacheClient::new(&node, cache);
            for _ in 0..25 {
                cache.increment("hits", 1, Some(secs(5))).await.unwrap();
            }
            node.sleep(secs(1)).await;
            assert_eq!(cache.get("hits").await.unwrap().unwrap().value, b"100");
            node.sleep(secs(5)).await; // the window is over: it was counted from the first increment
            assert!(cache.get("hits").await.unwrap().is_none());
            cache.set("name", Item::new("x")).await.unwrap();
            assert_eq!(cache.increment("name", 1, None).await, Err(CacheError::NotANumber));
        });
    }
    run(sim);
}

#[test]
fn a_crash_empties_it() {
    let mut sim = world_with(1, secs(10), fault(secs(2), secs(1), FaultKind::Crash, "cache"));
    let cache = CacheServer::new().prefill("hot", Item::new("page")).add_to(&mut sim, "cache");
    program(&mut sim, "web", async move |node| {
        let cache = CacheClient::new(&node, cache).deadline(ms(100));
        assert!(cache.get("hot").await.unwrap().is_some());
        let Lookup::Fill { lease, .. } = cache.get_or_lease("cold").await.unwrap() else { panic!() };
        node.sleep(ms(2_500)).await;
        assert_eq!(cache.get("hot").await, Err(CacheError::Call(CallError::Refused)));
        node.sleep(secs(1)).await;
        assert!(cache.get("hot").await.unwrap().is_none());
        let Lookup::Fill { lease: other, .. } = cache.get_or_lease("cold").await.unwrap() else { panic!() };
        assert_ne!(lease, other, "no lease outlives the crash");
        assert!(!cache.set_leased("cold", Item::new("x"), lease).await.unwrap());
    });
    run(sim);
}
