//! A busy world for the tests of determinism: everything at once, on lossy links, under faults.
//!
//! Clients call servers, servers work on two cores and write to their disks, a protocol gossips with records and timers,
//! streams carry items, datagrams are lost, doubled and damaged; a server crashes, the disk tears, a node stands still, the
//! network parts, clocks drift and jump.

use serde::{Deserialize, Serialize};
use sim_core::{
    Node, NodeId, NodeSpec, Sim,
    fault::{Fault, FaultKind, FaultPlan, LinkChange, MessageTrigger, Offset, Partition, Target, When},
    machine::{Discipline, DiskSpec, disk::CrashPolicy},
    net::{Link, rpc::Request},
    plan::Plan,
    protocol::{Out, Protocol},
    record::{Recording, RecordingLevel},
    rng::Delay,
    time::{ms, secs, us},
};

const CLIENTS: u32 = 6;

#[derive(Serialize, Deserialize)]
enum Query {
    Read(u64),
    Write(u64, Vec<u8>),
}
impl Request for Query {
    type Response = Result<u64, String>;
}

/// Counts as high as it hears, and persists what it reaches.
struct Gossip {
    peers: Vec<NodeId>,
    count: u64,
}

#[derive(Serialize, Deserialize, Debug, Clone)]
enum Rumour {
    Count(u64),
}

impl Protocol for Gossip {
    type Config = Vec<NodeId>;
    type Message = Rumour;
    type Command = u64;
    type Event = u64;
    type Record = u64;
    type Timer = ();

    fn restore(peers: &Vec<NodeId>, records: Vec<u64>, out: &mut Out<Self>) -> Self {
        let count = records.last().copied().unwrap_or(0);
        let wait = ms(20 + out.rng().below(10));
        out.arm((), wait);
        Self { peers: peers.clone(), count }
    }
    fn on_command(&mut self, by: u64, out: &mut Out<Self>) {
        self.count += by;
        out.append(self.count);
        out.announce(self.count);
    }
    fn on_message(&mut self, _: NodeId, Rumour::Count(count): Rumour, out: &mut Out<Self>) {
        if count > self.count {
            self.count = count;
            out.append(count);
            out.state("count", count.to_string());
        }
    }
    fn on_timer(&mut self, (): (), out: &mut Out<Self>) {
        let wait = ms(20 + out.rng().below(10));
        out.arm((), wait);
        let peer = out.rng().below(self.peers.len() as u64) as usize;
        out.send(self.peers[peer], Rumour::Count(self.count));
    }
}

async fn serve(node: Node) {
    let file = node.file("data");
    drop(file.read_all().await);
    let (queries, latency) = (node.counter("queries"), node.histogram("latency"));
    node.serve::<Query>(async move |call, query| {
        let node = call.node();
        let begun = node.monotonic();
        queries.increment();
        let answer = match query {
            Query::Read(key) => {
                node.span("read").attribute("key", key).run(node.work(us(200 + key))).await;
                Ok(key)
            }
            Query::Write(key, value) => {
                node.work(us(400)).await;
                let held = node.allocate(value.len() as u64);
                let written = node.file("data").append(&value).await;
                let synced = node.file("data").sync().await;
                node.sometimes("a write grows large", held.bytes() > 90);
                written.and(synced.map(|()| key)).map_err(|error| error.to_string())
            }
        };
        latency.record(node.monotonic().since(begun));
        answer
    });
    let mut listener = node.listen(80);
    loop {
        let mut stream = listener.accept().await;
        let me = node.clone();
        node.spawn_detached(async move {
            while let Ok(Some(n)) = stream.recv::<u64>().await {
                me.work(us(50)).await;
                if stream.send(&(n + 1)).is_err() {
                    return;
                }
            }
        });
    }
}

async fn ask(node: Node, servers: Vec<NodeId>) {
    let mut rng = node.rng("load");
    let think = Delay::exponential(us(500));
    let mut round = 0_u64;
    let mut mailbox = node.mailbox::<u64>();
    loop {
        node.sleep(rng.duration(&think)).await;
        round += 1;
        let server = servers[rng.below(servers.len() as u64) as usize];
        let key = rng.below(100);
        let query = if rng.chance(0.3) {
            Query::Write(key, vec![round as u8; key as usize])
        } else {
            Query::Read(key)
        };
        let operation = node.invoke(node.id().0, "query", &key.to_string(), &round);
        let call = node.trace("query").attribute("round", round).run(async {
            let answer = node.call(server, &query).deadline(ms(40)).await;
            if let Err(error) = &answer {
                node.fail(error.label());
                node.event("gave up", error.label());
            }
            answer
        });
        match call.await {
            Ok(answer) => operation.ok(&answer),
            Err(error) if error.is_definite() => operation.failed(error.label()),
            Err(error) => operation.unknown(error.label()),
        }
        node.gauge("wall").set(node.wall().since_run_start() as f64);
        node.send(server, &round);
        while let Some(received) = mailbox.try_recv() {
            node.gauge("heard").set(received.message as f64);
        }
        if round.is_multiple_of(10) {
            let exchange = async {
                let mut stream = node.connect(server, 80).await.ok()?;
                for n in 0..5_u64 {
                    stream.send(&n).ok()?;
                }
                let mut sum = 0;
                for _ in 0..5 {
                    sum += stream.recv::<u64>().await.ok()??;
                }
                Some(sum)
            };
            let sum = node.timeout(ms(100), exchange).await.flatten();
            node.always("streams add up", sum.is_none_or(|sum| sum == 15), || format!("{sum:?}"));
        }
    }
}

fn faults() -> FaultPlan {
    let first_rumour =
        MessageTrigger { kind: Some("Count".to_owned()), count: 20, ..MessageTrigger::default() };
    [
        Fault::at(ms(200), "a server dies", FaultKind::Crash).on("server-0").lasting(ms(150)),
        Fault::at(ms(300), "power", FaultKind::PowerFailure).on("server-1").lasting(ms(100)),
        Fault::at(ms(420), "pause", FaultKind::Pause).on("server-2").lasting(ms(60)),
        Fault::at(ms(500), "slow", FaultKind::Slow(5.0)).on("server-0").lasting(ms(100)),
        Fault::at(ms(550), "parted", FaultKind::Partition(Partition::Isolate))
            .on(Target::Minority("server".to_owned()))
            .lasting(ms(80)),
        Fault::at(ms(100), "far", FaultKind::Link(LinkChange::slower_by(ms(5))))
            .on("client-1")
            .lasting(ms(300)),
        Fault::at(ms(600), "jump", FaultKind::ClockJump(Offset::ahead(secs(5)))).on("client-0"),
        Fault::at(ms(650), "drift", FaultKind::ClockDrift(50_000.0)).on("client-2").lasting(ms(200)),
        Fault::when(When::Sent(first_rumour), "restart", FaultKind::Restart).on("gossip-1"),
    ]
    .into_iter()
    .collect()
}

/// The busy world's run, two seconds long.
pub fn busy(seed: u64, level: RecordingLevel) -> Recording {
    let plan = Plan::new("busy", seed, secs(2)).with_faults(faults());
    let mut sim = Sim::new(&plan, level);
    let link = Link::new(Delay::lognormal(us(500), 0.5)).loss(0.02).duplication(0.02).corruption(0.01);
    sim.default_link(link.reordering(0.05, Delay::uniform(ms(1), ms(3))));
    let disk =
        DiskSpec { crash: CrashPolicy::KeepRandomSectors, write_back: Some(ms(50)), ..DiskSpec::default() };
    let mut servers = Vec::new();
    for (name, discipline) in
        [("server-0", Discipline::Fifo), ("server-1", Discipline::Sharing), ("server-2", Discipline::Fifo)]
    {
        let spec = NodeSpec::new(name).cores(2).discipline(discipline).disk(disk).memory_limit(1 << 20);
        servers.push(sim.node(spec, serve));
    }
    for client in 0..CLIENTS {
        let servers = servers.clone();
        let spec = NodeSpec::new(format!("client-{client}"))
            .clock_offset(Offset::behind(ms(3)))
            .bandwidth(1_000_000, 20_000);
        sim.node(spec, async move |node| ask(node, servers.clone()).await);
    }
    let members: Vec<NodeId> = (0..4).map(member_id).collect();
    for member in 0..4 {
        let members = members.clone();
        let id = sim.node(NodeSpec::new(format!("gossip-{member}")).disk(disk), async move |node| {
            let hosted = node.host::<Gossip>(members.clone()).await;
            let mut ticks = node.ticks(ms(70));
            loop {
                ticks.tick().await;
                hosted.command(1);
                let count = hosted.next().await;
                node.gauge("count").set(count as f64);
            }
        });
        assert_eq!(id, member_id(member));
    }
    sim.run().expect("the plan names nobody unknown")
}

/// The gossips come after three servers and the clients.
fn member_id(member: u32) -> NodeId {
    NodeId(3 + CLIENTS + member)
}
