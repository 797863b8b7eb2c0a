//! The host of protocols: effects in order, what waits for a sync and what does not, records over crashes.
//!
//! The protocol of these tests decides nothing: its commands, messages and timers are lists of effects. Its disk takes 10 ms
//! for a sync and nothing for the rest, its links take 1 ms.

mod support;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId, NodeSpec,
    fault::{DiskFault, Fault, FaultKind, FaultPlan, MessageTrigger, StateTrigger, When},
    machine::DiskSpec,
    net::Link,
    protocol::{Durability, Out, Protocol},
    record::{PropertyKind, Recording},
    time::{Duration, ms},
};
use support::{Log, panicked, run, states, world_with};

/// An effect, as data.
#[derive(Clone, Debug)]
enum Act {
    Send(NodeId, u32),
    Arm(u8, Duration),
    Disarm(u8),
    Append(u32),
    Truncate(usize),
    Replace(Vec<u32>),
    State(&'static str, &'static str),
    Announce(&'static str),
    SendNow(NodeId, u32),
    AnnounceNow(&'static str),
    WhenDurable(u8),
    Panic,
}

#[derive(Serialize, Deserialize, Debug)]
enum Say {
    Word(u32),
}

#[derive(Clone, Default)]
struct Config {
    on_word: Vec<Act>,
    on_timer: BTreeMap<u8, Vec<Act>>,
    durability: Durability,
}

struct Scripted {
    config: Config,
    words: Vec<u32>,
}

fn carry_out(acts: &[Act], out: &mut Out<Scripted>) {
    for act in acts {
        match act {
            Act::Send(to, word) => out.send(*to, Say::Word(*word)),
            Act::Arm(timer, after) => out.arm(*timer, *after),
            Act::Disarm(timer) => out.disarm(*timer),
            Act::Append(record) => out.append(*record),
            Act::Truncate(keep) => out.truncate(*keep),
            Act::Replace(records) => out.replace(records.clone()),
            Act::State(key, value) => out.state(key, *value),
            Act::Announce(event) => out.announce((*event).to_owned()),
            Act::SendNow(to, word) => out.send_now(*to, Say::Word(*word)),
            Act::AnnounceNow(event) => out.announce_now((*event).to_owned()),
            Act::WhenDurable(timer) => out.when_durable(*timer),
            Act::Panic => panic!("a handler panicked"),
        }
    }
}

impl Protocol for Scripted {
    type Config = Config;
    type Message = Say;
    type Command = Vec<Act>;
    type Event = String;
    type Record = u32;
    type Timer = u8;

    fn durability(config: &Config) -> Durability {
        config.durability
    }
    fn restore(config: &Config, records: Vec<u32>, out: &mut Out<Self>) -> Self {
        out.announce(format!("restored {records:?}"));
        Self { config: config.clone(), words: Vec::new() }
    }
    fn on_command(&mut self, acts: Vec<Act>, out: &mut Out<Self>) {
        carry_out(&acts, out);
    }
    fn on_message(&mut self, _: NodeId, Say::Word(word): Say, out: &mut Out<Self>) {
        self.words.push(word);
        out.announce(format!("heard {word}"));
        carry_out(&self.config.on_word, out);
    }
    fn on_timer(&mut self, timer: u8, out: &mut Out<Self>) {
        out.announce(format!("timer {timer} at {}", out.now().since_start()));
        carry_out(self.config.on_timer.get(&timer).map_or(&[], Vec::as_slice), out);
    }
}

const PEER: NodeId = NodeId(1);

/// Gives the commands of the node's first process at their times; both nodes note what their protocols announce.
fn play(config: Config, faults: FaultPlan, script: Vec<(u64, Vec<Act>)>) -> (Vec<String>, Recording) {
    let log = Log::new();
    let mut sim = world_with(faults);
    sim.default_link(Link::constant(ms(1)));
    for name in ["node", "peer"] {
        let (noted, config, script) = (log.clone(), config.clone(), script.clone());
        let disk = DiskSpec {
            write: Duration::ZERO,
            read: Duration::ZERO,
            fsync: ms(10),
            bandwidth: u64::MAX,
            ..DiskSpec::default()
        };
        sim.node(NodeSpec::new(name).disk(disk), async move |node| {
            let mine = node.name() == "node";
            let hosted = node.host::<Scripted>(if mine { config.clone() } else { Config::default() }).await;
            if mine && node.incarnation() == 0 {
                let (me, hosted, script) = (node.clone(), hosted.clone(), script.clone());
                node.spawn_detached(async move {
                    for (at, acts) in script {
                        me.sleep_until(sim_core::time::Monotonic::ZERO + ms(at)).await;
                        hosted.command(acts);
                    }
                });
            }
            loop {
                let event = hosted.next().await;
                noted.note(&node, format!("{}: {event}", node.name()));
            }
        });
    }
    let recording = sim.run().unwrap();
    (log.lines(), recording)
}
/// The same without faults and without reactions; the two `restored []` of the start are left out.
fn script(script: Vec<(u64, Vec<Act>)>) -> Vec<String> {
    let (lines, recording) = play(Config::default(), FaultPlan::none(), script);
    assert_eq!(panicked(&recording), None);
    assert_eq!(lines[..2], ["0s node: restored []", "0s peer: restored []"]);
    lines[2..].to_vec()
}
fn restart(at: u64) -> FaultPlan {
    FaultPlan::none().with(Fault::at(ms(at), "restart", FaultKind::Restart).on("node"))
}
/// What the second process, started at that time, is given.
fn restored(at: u64, commands: Vec<(u64, Vec<Act>)>) -> String {
    let (lines, _) = play(Config::default(), restart(at), commands);
    let last = lines.iter().rfind(|line| line.contains("node: restored"));
    last.unwrap().split_once("restored ").unwrap().1.to_owned()
}

// ---- effects ----

#[test]
fn effects_are_carried_out_in_their_order() {
    let acts = vec![
        Act::Send(PEER, 1),
        Act::Announce("a"),
        Act::State("k", "1"),
        Act::Send(PEER, 2),
        Act::State("k", "2"),
        Act::Announce("b"),
    ];
    let (lines, recording) = play(Config::default(), FaultPlan::none(), vec![(5, acts)]);
    assert_eq!(lines[2..], ["5ms node: a", "5ms node: b", "6ms peer: heard 1", "6ms peer: heard 2"]);
    assert_eq!(states(&recording), ["5ms node k=1", "5ms node k=2"]);
}

#[test]
fn arming_a_timer_again_moves_it_and_disarming_takes_it_back() {
    let lines = script(vec![
        (0, vec![Act::Arm(1, ms(10)), Act::Arm(2, ms(10)), Act::Arm(3, ms(30)), Act::Arm(4, ms(10))]),
        (5, vec![Act::Arm(1, ms(10)), Act::Disarm(2), Act::Arm(3, ms(1)), Act::Disarm(9)]),
    ]);
    assert_eq!(
        lines,
        ["6ms node: timer 3 at 6ms", "10ms node: timer 4 at 10ms", "15ms node: timer 1 at 15ms"]
    );
}

#[test]
fn a_timer_that_has_fired_can_be_armed_again_by_its_own_handler() {
    let config = Config {
        on_timer: BTreeMap::from([
            (1, vec![Act::Arm(2, ms(3))]),
            (2, vec![Act::Arm(2, ms(4)), Act::Disarm(1)]),
        ]),
        ..Config::default()
    };
    let faults = FaultPlan::none().with(Fault::at(ms(12), "crash", FaultKind::Crash).on("node"));
    let (lines, _) = play(config, faults, vec![(0, vec![Act::Arm(1, ms(1))])]);
    let expected = ["1ms node: timer 1 at 1ms", "4ms node: timer 2 at 4ms", "8ms node: timer 2 at 8ms"];
    assert_eq!(lines[2..5], expected);
    assert_eq!(lines.len(), 5, "the timer of 12 ms came after the crash: {lines:?}");
}

#[test]
fn timers_follow_the_nodes_clock_and_wait_while_it_stands_still() {
    let faults = FaultPlan::none()
        .with(Fault::at(ms(4), "drift", FaultKind::ClockDrift(1_000_000.0)).until(ms(20)).on("node"))
        .with(Fault::at(ms(40), "pause", FaultKind::Pause).until(ms(60)).on("node"));
    let (lines, _) = play(
        Config::default(),
        faults,
        vec![
            (0, vec![Act::Arm(1, ms(10)), Act::Arm(2, ms(66))]), // twice as fast from 4 on: 6 ms of clock in 3
        ],
    );
    // The clock is 16 ms ahead after the drift: 66 would be at 50, in the pause.
    assert_eq!(lines[2..], ["7ms node: timer 1 at 10ms", "60ms node: timer 2 at 76ms"]);
}

// ---- durability ----

#[test]
fn after_a_persist_sends_and_announcements_wait_for_the_sync_and_timers_and_states_do_not() {
    let config =
        Config { on_timer: BTreeMap::from([(1, vec![Act::State("k", "timer")])]), ..Config::default() };
    let acts = vec![
        Act::Announce("before"),
        Act::Send(PEER, 1),
        Act::Append(7),
        Act::Send(PEER, 2),
        Act::Announce("after"),
        Act::State("k", "now"),
        Act::Arm(1, ms(4)),
    ];
    let (lines, recording) = play(config, FaultPlan::none(), vec![(0, acts)]);
    assert_eq!(
        lines,
        [
            "0s node: restored []",
            "0s peer: restored []",
            "0s node: before",
            "1ms peer: heard 1",
            "10ms node: after",
            "10ms node: timer 1 at 4ms", // its handler ran at 4, what it announced waited
            "11ms peer: heard 2",
        ]
    );
    assert_eq!(states(&recording), ["0s node k=now", "4ms node k=timer"]);
}

#[test]
fn what_is_said_without_a_persist_of_its_own_waits_behind_a_sync_that_is_pending() {
    let lines = script(vec![
        (0, vec![Act::Append(7)]),
        (3, vec![Act::Announce("later")]),
        (12, vec![Act::Announce("free")]),
    ]);
    assert_eq!(lines, ["10ms node: later", "12ms node: free"]);
}

#[test]
fn persists_that_wait_share_the_next_sync() {
    let step = |name| vec![Act::Append(7), Act::Announce(name)];
    let lines = script(vec![(0, step("a")), (2, step("b")), (4, step("c")), (9, step("d")), (12, step("e"))]);
    // One sync from 0 to 10 for a, one from 10 to 20 for b, c and d, one from 20 to 30 for e.
    assert_eq!(lines, ["10ms node: a", "20ms node: b", "20ms node: c", "20ms node: d", "30ms node: e"]);
}

#[test]
fn what_is_persisted_on_a_message_is_answered_after_the_sync() {
    let config = Config { on_word: vec![Act::Append(1), Act::Send(PEER, 99)], ..Config::default() };
    let (lines, _) = play(config, FaultPlan::none(), vec![(0, vec![Act::Send(NodeId(0), 5)])]);
    // To itself: 1 ms; the sync: 10; the answer: 1.
    assert_eq!(lines[2..], ["1ms node: heard 5", "12ms peer: heard 99"]);
}

#[test]
fn a_failed_sync_crashes_the_node_and_nothing_that_waited_is_said() {
    let faults = FaultPlan::none()
        .with(Fault::at(ms(2), "sync", FaultKind::Disk(DiskFault::FailSync)).until(ms(50)).on("node"));
    let acts = vec![Act::Append(7), Act::Send(PEER, 1), Act::Announce("durable"), Act::Arm(1, ms(20))];
    let (lines, recording) = play(Config::default(), faults, vec![(0, acts)]);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(states(&recording), ["10ms node process=down"]);
    assert_eq!(recording.faults[0].touched, 1);
}

#[test]
fn a_restart_is_given_exactly_the_durable_records() {
    let commands = vec![
        (0, vec![Act::Append(1), Act::Append(2)]),
        (11, vec![Act::Append(3)]),
        (22, vec![Act::Append(4)]), // its sync is done at 32
    ];
    assert_eq!(restored(9, commands.clone()), "[]");
    assert_eq!(restored(12, commands.clone()), "[1, 2]");
    assert_eq!(restored(31, commands.clone()), "[1, 2, 3]");
    assert_eq!(restored(33, commands), "[1, 2, 3, 4]");
}

#[test]
fn truncating_and_replacing_change_what_a_restart_is_given() {
    let commands = vec![
        (0, vec![Act::Append(1), Act::Append(2), Act::Append(3)]),
        (100, vec![Act::Truncate(1)]),
        (200, vec![Act::Append(4), Act::Append(5)]),
        (300, vec![Act::Replace(vec![8, 9]), Act::Append(10)]),
        (400, vec![Act::Append(11), Act::Truncate(2), Act::Append(12), Act::Truncate(7)]),
        (500, vec![Act::Replace(vec![])]),
        (600, vec![Act::Append(13)]),
    ];
    let at = |time| restored(time, commands.clone());
    assert_eq!(at(109), "[1, 2, 3]");
    assert_eq!(at(150), "[1]");
    assert_eq!(at(250), "[1, 4, 5]");
    assert_eq!(at(305), "[1, 4, 5]");
    assert_eq!(at(350), "[8, 9, 10]");
    assert_eq!(at(450), "[8, 9, 12]");
    assert_eq!(at(550), "[]");
    assert_eq!(at(650), "[13]");
}

#[test]
fn truncating_a_log_without_records_is_no_failure() {
    let lines = script(vec![
        (0, vec![Act::Truncate(0), Act::Announce("a")]),
        (1, vec![Act::Append(1), Act::Announce("b")]),
    ]);
    assert_eq!(lines, ["0s node: a", "11ms node: b"]);
}

#[test]
fn two_protocols_on_one_node_have_their_own_ports_and_records() {
    let log = Log::new();
    let mut sim = world_with(restart(50));
    let noted = log.clone();
    sim.node("node", async move |node| {
        for port in [7, 8] {
            let hosted = node.host_on::<Scripted>(port, Config::default()).await;
            noted.say(hosted.next().await);
            hosted.command(vec![Act::Append(u32::from(port)), Act::Announce("durable")]);
            noted.say(hosted.next().await);
        }
    });
    run(sim);
    let (first, second) =
        (["restored []", "durable"], ["restored [7]", "durable", "restored [8]", "durable"]);
    assert_eq!(log.texts(), [&first[..], &first[..], &second[..]].concat());
}

#[test]
fn a_port_cannot_be_hosted_twice() {
    let mut sim = world_with(FaultPlan::none());
    sim.node("node", async |node: Node| {
        let _first = node.host::<Scripted>(Config::default()).await;
        let _second = node.host::<Scripted>(Config::default()).await;
    });
    let recording = sim.run().unwrap();
    let (node, message) = panicked(&recording).unwrap();
    assert_eq!(node, "node");
    assert!(message.contains("exists already") || message.contains("is bound already"), "{message}");
}

// ---- messages ----

#[test]
fn messages_that_come_before_the_host_starts_are_lost() {
    let log = Log::new();
    let mut sim = world_with(FaultPlan::none());
    sim.default_link(Link::constant(ms(1)));
    let noted = log.clone();
    let late = sim.node("late", async move |node| {
        node.sleep(ms(5)).await;
        let hosted = node.host::<Scripted>(Config::default()).await;
        loop {
            noted.note(&node, hosted.next().await);
        }
    });
    sim.node("early", async move |node| {
        let hosted = node.host::<Scripted>(Config::default()).await;
        for word in 0..4 {
            hosted.command(vec![Act::Send(late, word)]);
            node.sleep(ms(2)).await;
        }
    });
    run(sim);
    // Sent at 0, 2, 4 and 6.
    assert_eq!(log.lines(), ["5ms restored []", "5ms heard 2", "7ms heard 3"]);
}

#[test]
fn what_cannot_be_decoded_is_counted_and_not_handled() {
    let log = Log::new();
    let mut sim = world_with(FaultPlan::none());
    let noted = log.clone();
    let node = sim.node("node", async move |node| {
        let hosted = node.host_on::<Scripted>(9, Config::default()).await;
        loop {
            noted.say(hosted.next().await);
        }
    });
    sim.node("noise", async move |me| {
        me.send_on(9, node, &[0xff_u8; 9]);
        me.send_on(9, node, &Say::Word(4));
        me.send_on(9, node, &());
    });
    let recording = run(sim);
    assert_eq!(log.texts(), ["restored []", "heard 4"]);
    let series = &recording.metrics[0];
    assert_eq!(recording.text(series.name), "datagrams.undecodable");
    assert_eq!(series.points.len(), 2);
}

// ---- crashes ----

fn words(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.split_once("peer: heard ")).map(|(_, word)| word).collect()
}
fn crash_when(when: When) -> FaultPlan {
    FaultPlan::none().with(Fault::when(when, "crash", FaultKind::Crash).on("node"))
}
fn second_word() -> When {
    When::Sent(MessageTrigger {
        kind: Some("Word".to_owned()),
        from: Some("node".to_owned()),
        count: 2,
        ..MessageTrigger::default()
    })
}

#[test]
fn a_crash_in_the_middle_of_a_list_of_effects_stops_the_rest() {
    let acts = vec![
        Act::Send(PEER, 1),
        Act::State("k", "first"),
        Act::Send(PEER, 2),
        Act::State("k", "second"),
        Act::Send(PEER, 3),
        Act::Announce("done"),
        Act::Arm(1, ms(1)),
    ];
    let (lines, recording) =
        play(Config::default(), crash_when(second_word()), vec![(5, acts.clone()), (6, acts)]);
    assert_eq!(words(&lines), ["1", "2"], "what is on the wire arrives");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(states(&recording), ["5ms node k=first", "5ms node k=", "5ms node process=down"]);
    // The same by a state.
    let acts = vec![Act::Send(PEER, 1), Act::State("role", "leader"), Act::Send(PEER, 2)];
    let when = When::State(StateTrigger {
        key: "role".to_owned(),
        value: "leader".to_owned(),
        node: None,
        count: 1,
        then: Duration::ZERO,
    });
    let (lines, _) = play(Config::default(), crash_when(when), vec![(5, acts)]);
    assert_eq!(words(&lines), ["1"]);
}

#[test]
fn a_crash_while_held_messages_go_out_stops_the_rest() {
    let acts = vec![
        Act::Append(1),
        Act::Send(PEER, 1),
        Act::Send(PEER, 2),
        Act::Send(PEER, 3),
        Act::Announce("done"),
    ];
    let (lines, recording) = play(Config::default(), crash_when(second_word()), vec![(0, acts)]);
    assert_eq!(words(&lines), ["1", "2"]);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(states(&recording), ["10ms node process=down"]);
}

#[test]
fn timers_and_what_was_held_die_with_the_process() {
    let acts = vec![Act::Arm(1, ms(8)), Act::Append(1), Act::Send(PEER, 1), Act::Announce("done")];
    let (lines, _) = play(Config::default(), restart(5), vec![(0, acts)]);
    assert_eq!(lines, ["0s node: restored []", "0s peer: restored []", "5ms node: restored []"]);
}

#[test]
fn a_panic_in_a_handler_ends_the_run_and_names_the_node() {
    let on_word = Config { on_word: vec![Act::Panic], ..Config::default() };
    let on_timer = Config { on_timer: BTreeMap::from([(1, vec![Act::Panic])]), ..Config::default() };
    for (config, acts) in [
        (on_word, vec![Act::Send(NodeId(0), 1)]),
        (on_timer, vec![Act::Arm(1, ms(1))]),
        (Config::default(), vec![Act::Panic]),
    ] {
        let (_, recording) = play(config, FaultPlan::none(), vec![(0, acts)]);
        assert_eq!(panicked(&recording), Some(("node", "a handler panicked")));
    }
}

#[test]
fn the_observer_can_look_into_a_protocol() {
    let log = Log::new();
    let mut sim = world_with(FaultPlan::none());
    let noted = log.clone();
    let node = sim.node("node", async move |node| {
        let hosted = node.host::<Scripted>(Config::default()).await;
        for _ in 0..3 {
            noted.say(format!("{:?}", hosted.inspect(|protocol| protocol.words.clone())));
            node.sleep(ms(10)).await;
        }
        let events: Vec<String> = std::iter::from_fn(|| hosted.try_next()).collect();
        noted.say(events.join(", "));
    });
    sim.protocol::<Scripted>("silent", |_| Config::default());
    sim.node("talker", async move |me| {
        me.sleep(ms(5)).await;
        me.send_on(1, node, &Say::Word(8));
        me.sleep(ms(10)).await;
        me.send_on(1, node, &Say::Word(9));
    });
    run(sim);
    assert_eq!(log.texts(), ["[]", "[8]", "[8, 9]", "restored [], heard 8, heard 9"]);
}

// ---- what does not wait ----

#[test]
fn what_is_said_now_does_not_wait_for_a_sync() {
    let acts = vec![
        Act::Append(1),
        Act::Send(PEER, 1),
        Act::Announce("durable"),
        Act::SendNow(PEER, 2),
        Act::AnnounceNow("at once"),
    ];
    let lines = script(vec![(5, acts), (8, vec![Act::SendNow(PEER, 3)])]);
    assert_eq!(
        lines,
        [
            "5ms node: at once",
            "6ms peer: heard 2",
            "9ms peer: heard 3",
            "15ms node: durable",
            "16ms peer: heard 1"
        ]
    );
}

#[test]
fn a_timer_waits_for_the_sync_of_what_was_persisted_before_it() {
    // The second record comes while the first is on its way to the disk: its sync begins at 15 ms.
    let lines = script(vec![
        (5, vec![Act::Append(1), Act::WhenDurable(1)]),
        (8, vec![Act::WhenDurable(2), Act::Append(2), Act::WhenDurable(3), Act::Announce("after")]),
    ]);
    // What a timer's handler announces waits for the second sync; when it ran, it says itself.
    assert_eq!(
        lines,
        [
            "25ms node: timer 3 at 25ms",
            "25ms node: after",
            "25ms node: timer 1 at 15ms",
            "25ms node: timer 2 at 15ms"
        ]
    );
}

#[test]
fn a_timer_that_waits_for_no_sync_fires_right_after_its_handler() {
    let config = Config { on_timer: BTreeMap::from([(1, vec![Act::Send(PEER, 7)])]), ..Config::default() };
    let acts = vec![Act::WhenDurable(1), Act::Announce("first"), Act::Send(PEER, 6)];
    let (lines, _) = play(config, FaultPlan::none(), vec![(5, acts)]);
    assert_eq!(
        lines[2..],
        ["5ms node: first", "5ms node: timer 1 at 5ms", "6ms peer: heard 6", "6ms peer: heard 7"]
    );
}

#[test]
fn a_crash_takes_the_timers_that_wait_for_a_sync() {
    let acts = vec![(5, vec![Act::Append(1), Act::WhenDurable(1)])];
    let (lines, _) = play(Config::default(), restart(12), acts);
    assert!(!lines.iter().any(|line| line.contains("timer")), "{lines:?}");
}

/// What a crash at 12, 33 and 58 ms leaves of records of 0, 20 and 45 ms, where a sync of 10 ms is begun each 20 ms.
#[test]
fn what_is_synced_in_the_background_is_promised_at_once_and_lost_until_then() {
    let config = Config { durability: Durability::Every(ms(20)), ..Config::default() };
    for (crash, left) in [(12, "[]"), (33, "[1]"), (58, "[1, 2]")] {
        let commands = vec![
            (1, vec![Act::Append(1), Act::Announce("promised 1")]),
            (21, vec![Act::Append(2), Act::Announce("promised 2")]),
            (45, vec![Act::Append(3), Act::Announce("promised 3")]),
        ];
        let (lines, _) = play(config.clone(), restart(crash), commands);
        assert_eq!(lines[2], "1ms node: promised 1");
        let restored = lines.iter().rfind(|line| line.contains("node: restored")).unwrap();
        assert!(restored.ends_with(left), "crash at {crash} ms: {lines:?}");
    }
}

#[test]
fn a_watch_sees_each_step_with_its_effects_and_the_true_time() {
    let mut sim = world_with(FaultPlan::none());
    sim.node("node", async move |node| {
        let hosted = node
            .host_watched::<Scripted>(Config::default(), |watching, scripted, effects| {
                let (heard, name) = (scripted.words.len(), watching.name_of(watching.node()).to_owned());
                let (now, count) = (watching.now(), effects.len());
                let detail = || format!("{name} said {count} things at {now}, and has heard {heard}");
                watching.check(PropertyKind::Always, "a step has one effect", count == 1, detail);
            })
            .await;
        node.sleep(ms(3)).await;
        hosted.command(Vec::new());
        hosted.command(vec![Act::Announce("a"), Act::Announce("b")]);
    });
    let recording = sim.run().unwrap();
    let [property] = &recording.properties[..] else { panic!("{:?}", recording.properties) };
    // The start announces; the empty command is no step to look at.
    assert_eq!((property.checks, property.passes), (2, 1));
    let detail = &property.first_failure.as_ref().unwrap().detail;
    assert!(detail.starts_with("node said 2 things at 3"), "{detail}");
}
