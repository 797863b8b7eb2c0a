//! The network: packets, pairs, links, partitions, and the way of a packet from send to arrival.
//!
//! Each ordered pair of nodes that has talked keeps a key and a counter for each kind of message. The k-th packet of a kind
//! has fixed words of chance (loss, delay, duplication, corruption, ...), mixed from (key, kind, k), whether they are used
//! or not; retransmissions and copies have words of their own. So a packet that is lost shifts nobody's delay, and an
//! override can name a draw.

mod bytes;
pub mod datagram;
pub(crate) mod draws;
pub(crate) mod interface;
mod link;
mod packet;
pub mod regions;
pub mod rpc;
pub mod stream;
mod topology;

use std::rc::Rc;

use rustc_hash::FxHashMap;

pub(crate) use bytes::Bytes;
pub use link::{Link, Loss, Reordering};
pub(crate) use packet::{Packet, Route};
pub use topology::Topology;

use crate::{
    fault::PacketAction,
    net::interface::Interface,
    node::NodeId,
    plan::OverrideFate,
    record::{Fate, Message, MessageIndex, Name, NodeIndex, SpanIndex, Transport, hash},
    rng::{self, Delay, Key, addressed},
    time::{Duration, SimTime},
    world::Core,
};

/// The roles of a packet's words of chance.
mod role {
    pub(super) const LOSS: u64 = 0;
    pub(super) const DELAY: u64 = 1;
    pub(super) const DUPLICATION: u64 = 2;
    pub(super) const CORRUPTION: u64 = 3;
    pub(super) const REORDERING: u64 = 4;
    pub(super) const REORDERING_DELAY: u64 = 5;
    pub(super) const BURST: u64 = 6;
    pub(super) const COPY_DELAY: u64 = 7;
    pub(super) const CORRUPTED_BIT: u64 = 8;
    /// Each further transmission of a segment has words of its own.
    pub(super) const PER_ATTEMPT: u64 = 16;
}

/// A kind of message to a service: what all pairs know of it.
struct Kind {
    name: &'static str,
    service: Rc<str>,
    hash: u64,
    recorded: Name,
    span_name: Name,
}

/// How many messages of a kind a pair has sent.
struct KindCounter {
    /// Its place among [`Network::kinds`].
    kind: u32,
    count: u64,
}

/// An ordered pair of nodes that has talked: in one line of the processor's cache what every packet looks at.
#[repr(align(64))]
pub(crate) struct Pair {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    key: u64,
    kinds: smallvec::SmallVec<[KindCounter; 1]>,
    /// The link as it is now; `None` where the two cannot talk.
    link: Option<Rc<Link>>,
    /// At which state of the network the link was worked out.
    epoch: u32,
    /// Whether the link only delays: most do.
    only_delays: bool,
    /// What only some pairs have.
    rest: Option<Box<PairRest>>,
}

/// What makes a pair slow: see [`Pair`].
#[derive(Default)]
struct PairRest {
    /// Which faults change the link, and which blocks it.
    changed_by: Option<Changes>,
    blocked_by: Option<u32>,
    /// What only links with a memory have.
    memory: Option<Box<LinkMemory>>,
    /// Packets of all kinds; counted where the plan overrides draws.
    total: u64,
}

/// The faults that change a link, and the link without them: a packet counts as touched when it would have fared otherwise.
/// What chance says is fixed for each packet, so both links can be asked about the same one.
pub(crate) struct Changes {
    base: Rc<Link>,
    by: Vec<Changed>,
    /// Bursty loss that a fault has replaced: the state that the link's own chain would be in.
    bad: bool,
}

/// A fault that changes a link, and what of it.
#[derive(Clone, Copy)]
pub(crate) struct Changed {
    pub(crate) fault: u32,
    pub(crate) delay: bool,
    pub(crate) loss: bool,
    pub(crate) duplication: bool,
    pub(crate) corruption: bool,
    pub(crate) bandwidth: bool,
}

impl Changes {
    pub(crate) fn new(base: Rc<Link>, by: Vec<Changed>) -> Self {
        Self { base, by, bad: false }
    }
}

/// What chance has in store for a packet.
#[derive(Clone, Copy)]
struct Fortune {
    delay: Duration,
    lost: bool,
    duplicated: bool,
    corrupted: bool,
    datagram: bool,
}

impl Fortune {
    /// Whether the packet never arrives: the checksum of a stream's segment finds what is corrupted.
    fn is_gone(&self) -> bool {
        self.lost || (self.corrupted && !self.datagram)
    }
    /// Whether it makes a difference which of the two a packet has: nothing else matters of one that never arrives.
    fn differs(&self, other: &Self) -> bool {
        self.is_gone() != other.is_gone()
            || (!self.is_gone()
                && (self.delay != other.delay
                    || self.duplicated != other.duplicated
                    || self.corrupted != other.corrupted))
    }
}

/// What a link remembers from packet to packet.
#[derive(Default)]
struct LinkMemory {
    last_arrival: SimTime,
    bottleneck: Option<Interface>,
    /// Bursty loss: the bad state.
    bad: bool,
}

impl Pair {
    /// On an ordered link nothing arrives before what was sent earlier.
    fn after_the_last(&mut self, arrives: SimTime) -> SimTime {
        let memory = self.rest.get_or_insert_default().memory.get_or_insert_default();
        memory.last_arrival = memory.last_arrival.max(arrives);
        memory.last_arrival
    }
    fn memory(&mut self) -> Option<&mut LinkMemory> {
        self.rest.as_mut()?.memory.as_deref_mut()
    }
    /// Bursty loss: whether the link is in its bad state.
    fn is_bad(&self) -> bool {
        self.rest.as_ref().and_then(|rest| rest.memory.as_ref()).is_some_and(|memory| memory.bad)
    }
    fn changes(&self) -> Option<&Changes> {
        self.rest.as_ref()?.changed_by.as_ref()
    }
    fn blocked_by(&self) -> Option<u32> {
        self.rest.as_ref()?.blocked_by
    }
}

/// All of the network.
pub(crate) struct Network {
    key: Key,
    pub(crate) pairs: Vec<Pair>,
    pair_of: FxHashMap<(u32, u32), (u32, u32)>,
    kinds: Vec<Kind>,
    /// For each node whom it has talked to, in that order. Whoever is told next is mostly the one after the last: then the
    /// pair is found without a search.
    routes: Vec<Routes>,
    /// On the wire; the events hold their places.
    packets: Vec<Option<Box<Packet>>>,
    free_packets: Vec<u32>,
    /// Boxes to use again; they travel by themselves.
    #[expect(clippy::vec_box, reason = "a packet moves from hand to hand by its box")]
    spare: Vec<Box<Packet>>,
    scratch: Vec<u8>,
    pub(crate) connections: Vec<stream::Connection>,
    pub(crate) channels: FxHashMap<(u32, u32, u16), u32>,
    pub(crate) default_link: Option<Rc<Link>>,
    pub(crate) topology: Topology,
    pub(crate) regions: Option<regions::Regions>,
    /// Grows when links or partitions change.
    pub(crate) epoch: u32,
    overrides: FxHashMap<(u32, u32), Vec<PlannedOverride>>,
    /// Draws that are not left to chance.
    pub(crate) draws: Option<draws::DrawRule>,
}

/// See [`Network::routes`].
#[derive(Default)]
struct Routes {
    /// The receivers and their pairs.
    known: Vec<(NodeId, u32)>,
    /// Where the next one is looked for first.
    next: u32,
}

/// An override of the plan, with its nodes resolved.
pub(crate) struct PlannedOverride {
    pub(crate) kind: Option<String>,
    pub(crate) ordinal: u64,
    pub(crate) fate: OverrideFate,
    /// Its record among the faults.
    pub(crate) record: u32,
}

impl Network {
    pub(crate) fn new(root: &Key) -> Self {
        Self {
            key: root.fork("network"),
            pairs: Vec::new(),
            pair_of: FxHashMap::default(),
            kinds: Vec::new(),
            routes: Vec::new(),
            packets: Vec::new(),
            free_packets: Vec::new(),
            spare: Vec::new(),
            scratch: Vec::new(),
            connections: Vec::new(),
            channels: FxHashMap::default(),
            default_link: Some(Rc::new(Link::default())),
            topology: Topology::new(),
            regions: None,
            epoch: 1,
            overrides: FxHashMap::default(),
            draws: None,
        }
    }
    pub(crate) fn plan_override(&mut self, from: NodeId, to: NodeId, one: PlannedOverride) {
        self.overrides.entry((from.0, to.0)).or_default().push(one);
    }
    /// A packet with a message, after so many zeros of room for a head. It is encoded in a buffer that stays in the cache and
    /// then copied at once: an encoder writes byte by byte.
    #[inline]
    pub(crate) fn packet_with<T: serde::Serialize>(&mut self, head: usize, message: &T) -> Box<Packet> {
        self.scratch.clear();
        self.scratch.resize(head, 0);
        crate::codec::encode_into(message, &mut self.scratch);
        let mut packet = self.packet();
        packet.bytes.extend_from_slice(&self.scratch);
        packet
    }
    /// A packet without content.
    #[inline]
    pub(crate) fn packet(&mut self) -> Box<Packet> {
        self.spare.pop().unwrap_or_else(|| Box::new(Packet::empty()))
    }
    #[inline]
    pub(crate) fn recycle(&mut self, mut packet: Box<Packet>) {
        if self.spare.len() < 1 << 16 {
            packet.bytes.clear();
            packet.is_request = false;
            self.spare.push(packet);
        }
    }
    pub(crate) fn store(&mut self, packet: Box<Packet>) -> u32 {
        if let Some(slot) = self.free_packets.pop() {
            self.packets[slot as usize] = Some(packet);
            slot
        } else {
            self.packets.push(Some(packet));
            self.packets.len() as u32 - 1
        }
    }
    /// Writes on a packet whose it is and which of its kind: the last that was counted.
    #[inline]
    fn address(&self, packet: &mut Packet, pair: u32, slot: KindSlot) {
        let entry = &self.pairs[pair as usize];
        let counter = &entry.kinds[slot.index as usize];
        let kind = &self.kinds[counter.kind as usize];
        packet.from = entry.from;
        packet.to = entry.to;
        packet.pair = pair;
        packet.kind = kind.recorded;
        packet.kind_hash = kind.hash;
        packet.ordinal = counter.count;
    }
    /// A packet that is on the wire.
    pub(crate) fn on_the_wire(&self, slot: u32) -> &Packet {
        self.packets[slot as usize].as_ref().expect("its event has not happened yet")
    }
    /// Takes a packet off the wire.
    #[inline]
    pub(crate) fn take(&mut self, slot: u32) -> Box<Packet> {
        self.free_packets.push(slot);
        self.packets[slot as usize].take().expect("a packet's event happens once")
    }
}

/// A message's place in its pair: found or made when it is sent.
#[derive(Clone, Copy)]
pub(crate) struct KindSlot {
    index: u32,
    pub(crate) span_name: Name,
}

impl Core {
    /// The pair of two nodes, made when they talk for the first time.
    #[inline]
    pub(crate) fn pair(&mut self, from: NodeId, to: NodeId) -> u32 {
        if let Some(routes) = self.net.routes.get_mut(from.index()) {
            let next = routes.next as usize;
            if let Some(&(known, pair)) = routes.known.get(next)
                && known == to
            {
                routes.next = if next + 1 < routes.known.len() { next as u32 + 1 } else { 0 };
                return pair;
            }
        }
        self.find_pair(from, to)
    }

    fn find_pair(&mut self, from: NodeId, to: NodeId) -> u32 {
        let Some(&(pair, place)) = self.net.pair_of.get(&(from.0, to.0)) else {
            return self.make_pair(from, to);
        };
        let routes = &mut self.net.routes[from.index()];
        routes.next = if (place as usize) + 1 < routes.known.len() { place + 1 } else { 0 };
        pair
    }

    #[cold]
    fn make_pair(&mut self, from: NodeId, to: NodeId) -> u32 {
        let key = self.net.key.fork(&self.nodes[from.index()].name).fork(&self.nodes[to.index()].name).word();
        let pair = u32::try_from(self.net.pairs.len()).expect("fewer than four billion pairs");
        self.net.pairs.push(Pair {
            from,
            to,
            key,
            kinds: smallvec::SmallVec::new(),
            link: None,
            epoch: 0,
            only_delays: false,
            rest: None,
        });
        if self.net.routes.len() <= from.index() {
            self.net.routes.resize_with(self.nodes.len(), Routes::default);
        }
        let routes = &mut self.net.routes[from.index()];
        self.net.pair_of.insert((from.0, to.0), (pair, routes.known.len() as u32));
        routes.known.push((to, pair));
        routes.next = 0;
        pair
    }

    /// Looks at the pairs that a node's next messages will most likely belong to, so that their memory is fetched side by
    /// side. Changes nothing.
    #[inline]
    pub(crate) fn warm_pairs(&self, from: NodeId, messages: usize) {
        let Some(routes) = self.net.routes.get(from.index()) else { return };
        let next = routes.next as usize;
        let soon = &routes.known[next..routes.known.len().min(next + messages)];
        let seen = soon.iter().fold(0, |seen, &(_, pair)| seen ^ self.net.pairs[pair as usize].epoch);
        std::hint::black_box(seen);
    }

    /// The kind's place in the pair.
    #[inline]
    pub(crate) fn kind_slot(&mut self, pair: u32, kind: &'static str) -> KindSlot {
        let kinds = &self.net.kinds;
        // The same text nearly always is the very same literal; comparing the texts is for when it is not.
        for (index, counter) in self.net.pairs[pair as usize].kinds.iter().enumerate() {
            let known = &kinds[counter.kind as usize];
            if std::ptr::eq(known.name, kind) || known.name == kind {
                return KindSlot { index: index as u32, span_name: known.span_name };
            }
        }
        self.make_kind_slot(pair, kind)
    }

    #[cold]
    fn make_kind_slot(&mut self, pair: u32, name: &'static str) -> KindSlot {
        let to = self.net.pairs[pair as usize].to;
        let service = Rc::clone(&self.nodes[to.index()].service);
        let known = self.net.kinds.iter().position(|kind| kind.name == name && kind.service == service);
        let kind = known.unwrap_or_else(|| {
            let (recorded, hash) = (self.recorder.name(name), hash::bytes(name.as_bytes()));
            let span_name = self.recorder.name(&format!("{service}.{name}"));
            self.net.kinds.push(Kind { name, service, hash, recorded, span_name });
            self.net.kinds.len() - 1
        });
        let span_name = self.net.kinds[kind].span_name;
        let kinds = &mut self.net.pairs[pair as usize].kinds;
        kinds.push(KindCounter { kind: kind as u32, count: 0 });
        KindSlot { index: kinds.len() as u32 - 1, span_name }
    }

    /// Works out the link of a pair anew, after links or partitions have changed.
    fn refresh_pair(&mut self, pair: u32) {
        let (from, to) = (self.net.pairs[pair as usize].from, self.net.pairs[pair as usize].to);
        let base = match self.net.topology.link(from, to) {
            Some(link) => Some(Rc::new(link.clone())),
            None => self
                .net
                .regions
                .as_ref()
                .and_then(|r| r.link(&self.nodes[from.index()].region, &self.nodes[to.index()].region))
                .map(Rc::new)
                .or_else(|| self.net.default_link.clone()),
        };
        let (link, changed_by) = self.faulty_link(from, to, base);
        let blocked_by = self.blocking_fault(from, to);
        let epoch = self.net.epoch;
        let entry = &mut self.net.pairs[pair as usize];
        if let Some(link) = &link
            && (link.ordered || link.bandwidth.is_some() || matches!(link.loss, Loss::Bursty { .. }))
        {
            let memory = entry.rest.get_or_insert_default().memory.get_or_insert_default();
            let same = |b: &Interface| link.bandwidth.is_some_and(|bandwidth| b.is(bandwidth, link.queue));
            if !memory.bottleneck.as_ref().is_some_and(same) {
                memory.bottleneck = Interface::new(link.bandwidth, Some(link.queue)).map(|b| *b);
            }
        }
        if let Some(memory) = entry.memory()
            && link.as_ref().is_none_or(|link| link.bandwidth.is_none())
        {
            memory.bottleneck = None;
        }
        let bad = entry.is_bad();
        let changed_by = changed_by.map(|changes| Changes { bad, ..changes });
        if entry.rest.is_some() || blocked_by.is_some() || changed_by.is_some() {
            let rest = entry.rest.get_or_insert_default();
            (rest.blocked_by, rest.changed_by) = (blocked_by, changed_by);
        }
        let plain = entry.rest.as_ref().is_none_or(|rest| {
            rest.blocked_by.is_none() && rest.changed_by.is_none() && rest.memory.is_none()
        });
        entry.only_delays = plain && link.as_ref().is_some_and(|link| link.only_delays());
        (entry.link, entry.epoch) = (link, epoch);
    }

    /// Whether the two can talk at all, partitions aside.
    pub(crate) fn is_linked(&mut self, pair: u32) -> bool {
        if self.net.pairs[pair as usize].epoch != self.net.epoch {
            self.refresh_pair(pair);
        }
        self.net.pairs[pair as usize].link.is_some()
    }

    /// Puts a message on the wire: the next of its kind from one node to another.
    #[inline]
    pub(crate) fn send_packet(
        &mut self,
        pair: u32,
        slot: KindSlot,
        route: Route,
        mut packet: Box<Packet>,
        span: SpanIndex,
    ) {
        let now = self.now;
        let entry = &mut self.net.pairs[pair as usize];
        if !self.net.overrides.is_empty() {
            entry.rest.get_or_insert_default().total += 1;
        }
        entry.kinds[slot.index as usize].count += 1;
        self.net.address(&mut packet, pair, slot);
        packet.route = route;
        packet.first_sent = now;
        packet.attempt = 0;
        packet.span = span;
        packet.span_name = slot.span_name;
        packet.duplicate = false;
        self.launch(packet);
    }

    /// One transmission of a packet.
    pub(crate) fn launch(&mut self, mut packet: Box<Packet>) {
        let now = self.now;
        let pair = packet.pair as usize;
        packet.sent = now;
        if self.net.pairs[pair].epoch != self.net.epoch {
            self.refresh_pair(packet.pair);
        }
        packet.message = MessageIndex::NONE;
        let entry = &self.net.pairs[pair];
        if entry.only_delays
            && !self.nodes[packet.from.index()].has_interface
            && self.net.overrides.is_empty()
            && self.net.draws.is_none()
            && !self.faults.has_rules()
            && !self.faults.has_triggers()
            && let Some(link) = &entry.link
        {
            // The short way, for most packets of most worlds. It draws what the long way draws.
            let delay = match &link.delay {
                Delay::Constant(delay) => *delay,
                other => {
                    let role = role::DELAY + u64::from(packet.attempt) * role::PER_ATTEMPT;
                    other.sample(addressed::word(entry.key, packet.kind_hash, packet.ordinal, role))
                }
            };
            if self.recorder.records_messages() {
                packet.message = self.record_message(&packet);
            }
            return self.schedule_arrival(packet, now + delay);
        }
        self.launch_slowly(packet);
    }

    /// One transmission of a packet, with everything that can happen to it.
    fn launch_slowly(&mut self, mut packet: Box<Packet>) {
        let now = self.now;
        let pair = packet.pair as usize;
        packet.message =
            if self.recorder.records_messages() { self.record_message(&packet) } else { MessageIndex::NONE };

        // What the interface has no room for never leaves the node.
        let size = u64::from(packet.size());
        let mut departs = now;
        if self.nodes[packet.from.index()].has_interface
            && let Some(interface) = &mut self.nodes[packet.from.index()].interface
        {
            match interface.enqueue(now, size) {
                Some(at) => departs = at,
                None => return self.lose_after_trigger(packet, "queue full"),
            }
        }
        let entry = &mut self.net.pairs[pair];
        let Some(link) = entry.link.clone() else { return self.lose(packet, "no link") };
        let mut held_up = Duration::ZERO;
        if let Some(bottleneck) = entry.memory().and_then(|memory| memory.bottleneck.as_mut()) {
            match bottleneck.enqueue(departs, size) {
                Some(at) => (held_up, departs) = (at.since(departs), at),
                None => {
                    self.touch_changes(packet.pair, |changed| changed.bandwidth);
                    return self.lose_after_trigger(packet, "queue full");
                }
            }
        }
        if let Some(fault) = entry.blocked_by() {
            self.faults_touch(fault);
            return self.lose_after_trigger(packet, "partition");
        }
        // Chance: each word has its name, used or not.
        let entry = &self.net.pairs[pair];
        let (key, kind, ordinal) = (entry.key, packet.kind_hash, packet.ordinal);
        let attempt = u64::from(packet.attempt) * role::PER_ATTEMPT;
        let rule = match &mut self.net.draws {
            None => draws::Rule::Chance,
            Some(draws) => draws.next(packet.from, self.nodes.len(), entry.changes().is_some()),
        };
        let drawn = |role: u64| addressed::word(key, kind, ordinal, role + attempt);
        let word = |role: u64| if role == role::DELAY { rule.delay(drawn(role)) } else { drawn(role) };
        let chance = |role: u64, p: f64| p > 0.0 && rule.allows_mishaps() && rng::unit(word(role)) < p;
        // Whether a link loses it; bursty loss moves from state to state.
        let loses = |link: &Link, bad: &mut bool| match link.loss {
            Loss::Never => false,
            Loss::Independent(p) => chance(role::LOSS, p),
            Loss::Bursty { worsens, recovers, good, bad: in_bad } => {
                *bad = *bad != chance(role::BURST, if *bad { recovers } else { worsens });
                chance(role::LOSS, if *bad { in_bad } else { good })
            }
        };
        let datagram = matches!(packet.route, Route::Datagram { .. });
        let fortune = |link: &Link, lost: bool| {
            let mut delay = match &link.delay {
                Delay::Constant(delay) => *delay,
                other => other.sample(word(role::DELAY)),
            };
            if let Some(reordering) = &link.reordering
                && chance(role::REORDERING, reordering.share)
            {
                delay += reordering.by.sample(word(role::REORDERING_DELAY));
            }
            let duplicated = datagram && chance(role::DUPLICATION, link.duplication);
            let corrupted = chance(role::CORRUPTION, link.corruption);
            Fortune { delay, lost, duplicated, corrupted, datagram }
        };
        let mut bad = entry.is_bad();
        let lost = loses(&link, &mut bad);
        if let Some(memory) = self.net.pairs[pair].memory() {
            memory.bad = bad;
        }
        let mut drawn = fortune(&link, lost);

        if let Some(changes) = self.net.pairs[pair].rest.as_mut().and_then(|rest| rest.changed_by.as_mut()) {
            let base = Rc::clone(&changes.base);
            let own = fortune(&base, loses(&base, &mut changes.bad));
            let slower = held_up > Duration::ZERO && base.bandwidth != link.bandwidth;
            self.touch_changes(packet.pair, |changed| {
                (changed.loss && drawn.lost != own.lost)
                    || (changed.corruption && !drawn.lost && drawn.corrupted != own.corrupted)
                    || (changed.duplication && !drawn.is_gone() && drawn.duplicated != own.duplicated)
                    || (changed.delay && !drawn.is_gone() && drawn.delay != own.delay)
                    || (changed.bandwidth && !drawn.is_gone() && slower)
            });
        }

        // By hand: overrides of the plan, then rules of faults.
        if !self.net.overrides.is_empty()
            && packet.attempt == 0
            && let Some((fate, record)) = self.find_override(&packet)
        {
            let before = drawn;
            drawn.delay = fate.delay.unwrap_or(drawn.delay);
            drawn.lost = fate.lost.unwrap_or(drawn.lost);
            drawn.duplicated = fate.duplicated.unwrap_or(drawn.duplicated) && datagram;
            drawn.corrupted = fate.corrupted.unwrap_or(drawn.corrupted);
            if drawn.differs(&before) {
                self.faults_touch(record);
            }
        }
        let mut reason = "loss";
        if self.faults.has_rules()
            && let Some((fault, action, instead)) = self.packet_rule(&packet)
        {
            let before = drawn;
            match action {
                PacketAction::Pass => {
                    (drawn.lost, drawn.corrupted, drawn.duplicated) = (false, false, false);
                }
                PacketAction::Drop => (drawn.lost, reason) = (true, "rule"),
                PacketAction::Delay(more) => drawn.delay += more,
                PacketAction::Duplicate => drawn.duplicated = datagram,
                // Of a datagram without content there is no bit to flip.
                PacketAction::Corrupt => drawn.corrupted = !datagram || !packet.bytes.is_empty(),
            }
            // A packet that may pass is also spared by the rules further down.
            if drawn.differs(&before) || (instead && action == PacketAction::Pass) {
                self.faults_touch(fault);
            }
        }
        let Fortune { delay, lost, duplicated, corrupted, .. } = drawn;
        if lost {
            return self.lose_after_trigger(packet, reason);
        }
        if corrupted {
            if !datagram {
                // The checksum of a stream's segment finds it at the receiver, who says nothing: it counts as lost.
                return self.lose_after_trigger(packet, "corrupted");
            }
            if !packet.bytes.is_empty() {
                let bit = word(role::CORRUPTED_BIT) % (packet.bytes.len() as u64 * 8);
                packet.bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
        }
        let mut arrives = departs + delay;
        if link.ordered {
            arrives = self.net.pairs[pair].after_the_last(arrives);
        }
        let triggers = (packet.attempt == 0 && self.faults.has_triggers()).then_some((
            packet.kind,
            packet.from,
            packet.to,
        ));
        if duplicated {
            let mut copy_at = departs + link.delay.sample(word(role::COPY_DELAY));
            if link.ordered {
                copy_at = self.net.pairs[pair].after_the_last(copy_at);
            }
            let mut copy = packet.clone();
            copy.duplicate = true;
            copy.message = if self.recorder.records_messages() {
                self.record_message(&copy)
            } else {
                MessageIndex::NONE
            };
            self.schedule_arrival(packet, arrives);
            self.schedule_arrival(copy, copy_at);
        } else {
            self.schedule_arrival(packet, arrives);
        }
        if let Some((kind, from, to)) = triggers {
            self.trigger_sent(kind, from, to);
        }
    }

    #[inline]
    fn schedule_arrival(&mut self, packet: Box<Packet>, at: SimTime) {
        let slot = self.net.store(packet);
        self.queue.push_number(at, slot);
    }

    fn record_message(&mut self, packet: &Packet) -> MessageIndex {
        self.recorder.message(Message {
            from: NodeIndex(packet.from.0),
            to: NodeIndex(packet.to.0),
            kind: packet.kind,
            transport: if matches!(packet.route, Route::Datagram { .. }) {
                Transport::Datagram
            } else {
                Transport::Stream
            },
            bytes: packet.size(),
            sent: self.now,
            fate: Fate::InFlight,
            span: packet.span,
            duplicate: packet.duplicate,
            attempt: packet.attempt,
        })
    }

    /// Link faults of a pair have touched a packet: those for which that is so.
    fn touch_changes(&mut self, pair: u32, touched: impl Fn(&Changed) -> bool) {
        let Some(changes) = self.net.pairs[pair as usize].changes() else { return };
        let by = changes.by.iter().filter(|changed| touched(changed));
        let by: smallvec::SmallVec<[u32; 4]> = by.map(|changed| changed.fault).collect();
        for fault in by {
            self.faults_touch(fault);
        }
    }

    /// What the plan sets for a packet by hand, and the record of it.
    fn find_override(&mut self, packet: &Packet) -> Option<(OverrideFate, u32)> {
        let total = self.net.pairs[packet.pair as usize].rest.as_ref().map_or(0, |rest| rest.total);
        let kind = &self.recorder.recording().names[packet.kind.0 as usize];
        let planned = self.net.overrides.get(&(packet.from.0, packet.to.0))?;
        let found = planned.iter().find(|o| match &o.kind {
            Some(wanted) => wanted == kind && o.ordinal == packet.ordinal,
            None => o.ordinal == total,
        })?;
        let (fate, record) = (found.fate.clone(), found.record);
        self.recorder.fault_mut(record).began.push(self.now);
        Some((fate, record))
    }

    /// A lost packet has left its sender all the same: triggers see it.
    fn lose_after_trigger(&mut self, packet: Box<Packet>, reason: &str) {
        let (kind, from, to, attempt) = (packet.kind, packet.from, packet.to, packet.attempt);
        self.lose(packet, reason);
        // A retransmission is no new message.
        if attempt == 0 && self.faults.has_triggers() {
            self.trigger_sent(kind, from, to);
        }
    }

    /// A packet is no more. What a stream must deliver is sent again later.
    pub(crate) fn lose(&mut self, packet: Box<Packet>, reason: &str) {
        if packet.message != MessageIndex::NONE {
            let name = self.recorder.name(reason);
            self.recorder.message_fate(packet.message, Fate::Dropped(self.now, name));
        }
        if packet.span.is_some() {
            let kind = self.recorder.recording().names[packet.kind.0 as usize].clone();
            let detail = format!("{kind} to {}: {reason}", self.nodes[packet.to.index()].name);
            self.recorder.span_event(self.now, packet.span, "packet.dropped", &detail);
        }
        match packet.route {
            Route::Datagram { .. } | Route::Reset { .. } => self.net.recycle(packet),
            Route::Segment { .. } | Route::Open { .. } | Route::Opened { .. } => {
                self.send_again_later(packet);
            }
        }
    }

    /// A packet has reached the place where its receiver should be.
    pub(crate) fn arrive(&mut self, packet: Box<Packet>) {
        let receiver = &self.nodes[packet.to.index()];
        if !receiver.up {
            let answers =
                receiver.powered && !matches!(packet.route, Route::Datagram { .. } | Route::Reset { .. });
            if answers {
                self.refuse(packet);
            } else {
                self.lose(packet, "node down");
            }
            return;
        }
        if packet.message != MessageIndex::NONE {
            self.recorder.message_fate(packet.message, Fate::Arrived(self.now));
        }
        let (kind, from, to) = (packet.kind, packet.from, packet.to);
        // A segment is delivered when the stream hands it over: once, and in its turn.
        let delivered = !matches!(packet.route, Route::Segment { .. });
        match packet.route {
            Route::Datagram { port } => self.arrive_datagram(packet, port),
            Route::Segment { connection, side, sequence, last } => {
                self.arrive_segment(packet, connection, side, sequence, last);
            }
            Route::Open { connection } => self.arrive_open(packet, connection),
            Route::Opened { connection } => self.arrive_opened(packet, connection),
            Route::Reset { connection, side, refused } => {
                self.arrive_reset(packet, connection, side, refused);
            }
        }
        if delivered && self.faults.has_triggers() {
            self.trigger_delivered(kind, from, to);
        }
    }

    /// Whether an acknowledgement that leaves now would come through: computed, not sent.
    pub(crate) fn path_is_open(&mut self, pair: u32, of: &Packet) -> bool {
        if self.net.pairs[pair as usize].epoch != self.net.epoch {
            self.refresh_pair(pair);
        }
        let entry = &self.net.pairs[pair as usize];
        if let Some(fault) = entry.blocked_by() {
            self.faults_touch(fault);
            return false;
        }
        let Some(link) = &entry.link else { return false };
        let bad = entry.is_bad();
        let share = link.loss.share(bad);
        let own = entry.changes().map_or(share, |changes| changes.base.loss.share(changes.bad));
        let is_quiet = self.net.draws.as_ref().is_some_and(|draws| draws.is_quiet(entry.changes().is_some()));
        if is_quiet || (share == 0.0 && own == 0.0) {
            return true;
        }
        let word =
            addressed::word(entry.key, of.kind_hash ^ ACKNOWLEDGEMENT, of.ordinal, u64::from(of.attempt));
        let open = |share| rng::unit(word) >= share;
        if open(share) != open(own) {
            self.touch_changes(pair, |changed| changed.loss);
        }
        open(share)
    }
}

/// Sets the words of acknowledgements apart from those of messages.
const ACKNOWLEDGEMENT: u64 = 0x6163_6b6e_6f77_6c65;

/// One cache line.
const _: () = assert!(size_of::<Pair>() == 64);
