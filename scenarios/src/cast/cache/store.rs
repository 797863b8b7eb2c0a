//! What is in a cache: entries, who used them last, when they expire, who may fill them. No waiting and no chance.

use std::collections::{BTreeMap, BTreeSet};

use sim_core::time::{Duration, Monotonic, ms};

use super::messages::{CacheRequest, CacheResponse, Cached, Item, SetWhen};

pub(super) const ENTRY_OVERHEAD: u64 = 64;

#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) bytes_max: u64,
    pub(super) entries_max: usize,
    pub(super) lease: Duration,
    pub(super) keep_stale: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { bytes_max: u64::MAX, entries_max: usize::MAX, lease: ms(200), keep_stale: Duration::ZERO }
    }
}

/// What is counted; the names of the metrics, in the order of [`Tally`].
pub(super) const TALLIES: [&str; 11] = [
    "cache.gets",
    "cache.hits",
    "cache.misses",
    "cache.stale",
    "cache.leases",
    "cache.waits",
    "cache.sets",
    "cache.refused",
    "cache.deletes",
    "cache.evictions",
    "cache.expired",
];

#[derive(Clone, Copy)]
enum Tally {
    Gets,
    Hits,
    Misses,
    Stale,
    Leases,
    Waits,
    Sets,
    Refused,
    Deletes,
    Evictions,
    Expired,
}

struct Entry {
    /// `None` is the mark that a versioned delete leaves.
    value: Option<Vec<u8>>,
    /// From then on it is not fresh.
    expires: Option<Monotonic>,
    cost: Duration,
    version: u64,
    /// The turn at which it was last used.
    used: u64,
}

impl Entry {
    fn is_fresh(&self, now: Monotonic) -> bool {
        self.value.is_some() && self.expires.is_none_or(|at| now < at)
    }
    fn cached(&self, now: Monotonic) -> Option<Cached> {
        Some(Cached {
            value: self.value.clone()?,
            ttl_left: self.expires.map(|at| at.since(now)),
            cost: self.cost,
            version: self.version,
        })
    }
    fn bytes(&self, key: &str) -> u64 {
        bytes_of(key, self.value.as_deref())
    }
}

fn bytes_of(key: &str, value: Option<&[u8]>) -> u64 {
    ENTRY_OVERHEAD + key.len() as u64 + value.map_or(0, <[u8]>::len) as u64
}

struct Lease {
    token: u64,
    until: Monotonic,
}

pub(super) struct Store {
    settings: Settings,
    entries: BTreeMap<String, Entry>,
    /// Keys by the turn of their last use.
    order: BTreeMap<u64, String>,
    /// Keys by the time at which nothing of them is kept any more.
    ends: BTreeSet<(Monotonic, String)>,
    leases: BTreeMap<String, Lease>,
    bytes: u64,
    turn: u64,
    next_lease: u64,
    pub(super) tally: [u64; TALLIES.len()],
}

impl Store {
    /// An empty store. Its leases are numbered apart from those of other incarnations, so that none outlives a crash.
    pub(super) fn new(settings: Settings, incarnation: u64) -> Self {
        Self {
            settings,
            entries: BTreeMap::new(),
            order: BTreeMap::new(),
            ends: BTreeSet::new(),
            leases: BTreeMap::new(),
            bytes: 0,
            turn: 0,
            next_lease: (incarnation << 32) + 1,
            tally: [0; TALLIES.len()],
        }
    }
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
    fn count(&mut self, what: Tally) {
        self.tally[what as usize] += 1;
    }

    pub(super) fn prefill(&mut self, key: String, item: Item, now: Monotonic) {
        if bytes_of(&key, Some(&item.value)) <= self.settings.bytes_max {
            self.insert(key, item, now);
            self.make_room();
        }
    }

    pub(super) fn apply(&mut self, request: CacheRequest, now: Monotonic) -> CacheResponse {
        self.expire(now);
        match request {
            CacheRequest::Get { key } => self.get(&key, now),
            CacheRequest::GetOrLease { key } => self.get_or_lease(key, now),
            CacheRequest::Set { key, item, when } => self.set(key, item, when, now),
            CacheRequest::Delete { key, version } => self.delete(key, version, now),
            CacheRequest::DeleteIfEqual { key, value } => {
                let same = self.fresh(&key, now).is_some_and(|e| e.value.as_ref() == Some(&value));
                if same { self.delete(key, None, now) } else { CacheResponse::Done(false) }
            }
            CacheRequest::Increment { key, by, ttl } => self.increment(key, by, ttl, now),
            CacheRequest::Touch { key, ttl } => {
                let Some(mut entry) = self.fresh(&key, now).is_some().then(|| self.remove(&key)).flatten()
                else {
                    return CacheResponse::Done(false);
                };
                entry.expires = Some(now + ttl);
                self.put(key, entry);
                CacheResponse::Done(true)
            }
        }
    }

    fn fresh(&self, key: &str, now: Monotonic) -> Option<&Entry> {
        self.entries.get(key).filter(|e| e.is_fresh(now))
    }

    /// A look at an entry counts as a use of it.
    fn look(&mut self, key: &str, now: Monotonic) -> (Option<Cached>, bool) {
        self.count(Tally::Gets);
        self.turn += 1;
        let turn = self.turn;
        let Some(entry) = self.entries.get_mut(key) else { return (None, false) };
        let (cached, fresh) = (entry.cached(now), entry.is_fresh(now));
        if let Some(key) = self.order.remove(&entry.used) {
            self.order.insert(turn, key);
        }
        entry.used = turn;
        (cached, fresh)
    }

    fn get(&mut self, key: &str, now: Monotonic) -> CacheResponse {
        match self.look(key, now) {
            (Some(cached), true) => {
                self.count(Tally::Hits);
                CacheResponse::Found(cached)
            }
            _ => {
                self.count(Tally::Misses);
                CacheResponse::Missing
            }
        }
    }

    fn get_or_lease(&mut self, key: String, now: Monotonic) -> CacheResponse {
        let stale = match self.look(&key, now) {
            (Some(cached), true) => {
                self.count(Tally::Hits);
                return CacheResponse::Found(cached);
            }
            (stale, _) => stale,
        };
        self.count(Tally::Misses);
        if stale.is_some() {
            self.count(Tally::Stale);
        }
        if self.leases.get(&key).is_some_and(|lease| now < lease.until) {
            self.count(Tally::Waits);
            return CacheResponse::Busy { stale };
        }
        self.count(Tally::Leases);
        let token = self.next_lease;
        self.next_lease += 1;
        self.leases.insert(key, Lease { token, until: now + self.settings.lease });
        CacheResponse::Lease { lease: token, stale }
    }

    fn set(&mut self, key: String, item: Item, when: SetWhen, now: Monotonic) -> CacheResponse {
        if bytes_of(&key, Some(&item.value)) > self.settings.bytes_max || self.settings.entries_max == 0 {
            self.count(Tally::Refused);
            return CacheResponse::TooLarge;
        }
        let allowed = match when {
            SetWhen::Always => true,
            SetWhen::Absent => self.fresh(&key, now).is_none(),
            SetWhen::Lease(token) => self.leases.get(&key).is_some_and(|lease| lease.token == token),
            SetWhen::NotOlder => self.entries.get(&key).is_none_or(|e| e.version <= item.version),
        };
        if !allowed {
            self.count(Tally::Refused);
            return CacheResponse::Done(false);
        }
        self.leases.remove(&key);
        self.count(Tally::Sets);
        self.insert(key, item, now);
        self.make_room();
        CacheResponse::Done(true)
    }

    fn delete(&mut self, key: String, version: Option<u64>, now: Monotonic) -> CacheResponse {
        self.leases.remove(&key);
        let newer_mark = version.is_some_and(|v| self.entries.get(&key).is_some_and(|e| e.version > v));
        if newer_mark {
            return CacheResponse::Done(false);
        }
        let was_fresh = self.fresh(&key, now).is_some();
        let old = self.remove(&key);
        if was_fresh {
            self.count(Tally::Deletes);
        }
        if let Some(version) = version {
            let mark =
                Entry { value: None, expires: None, cost: Duration::ZERO, version, used: self.next_turn() };
            self.put(key, mark);
            self.make_room();
        } else if let Some(mut entry) = old.filter(|e| e.value.is_some())
            && !self.settings.keep_stale.is_zero()
        {
            entry.expires = Some(entry.expires.map_or(now, |at| at.min(now)));
            self.put(key, entry);
        }
        CacheResponse::Done(was_fresh)
    }

    fn increment(&mut self, key: String, by: i64, ttl: Option<Duration>, now: Monotonic) -> CacheResponse {
        let old = self.fresh(&key, now);
        let (number, expires, cost, version) = match old {
            None => (Some(0), ttl.map(|ttl| now + ttl), Duration::ZERO, 0),
            Some(entry) => {
                let text = entry.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
                (text.and_then(|t| t.parse::<i64>().ok()), entry.expires, entry.cost, entry.version)
            }
        };
        let Some(number) = number.and_then(|n| n.checked_add(by)) else {
            return CacheResponse::NotANumber;
        };
        self.count(Tally::Sets);
        self.remove(&key);
        let value = Some(number.to_string().into_bytes());
        let entry = Entry { value, expires, cost, version, used: self.next_turn() };
        self.put(key, entry);
        self.make_room();
        CacheResponse::Number(number)
    }

    // ---- the map and its two indices ----

    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    fn insert(&mut self, key: String, item: Item, now: Monotonic) {
        self.remove(&key);
        let entry = Entry {
            value: Some(item.value),
            expires: item.ttl.map(|ttl| now + ttl),
            cost: item.cost,
            version: item.version,
            used: self.next_turn(),
        };
        self.put(key, entry);
    }

    fn put(&mut self, key: String, entry: Entry) {
        self.bytes += entry.bytes(&key);
        self.order.insert(entry.used, key.clone());
        if let Some(at) = entry.expires {
            self.ends.insert((at + self.settings.keep_stale, key.clone()));
        }
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &str) -> Option<Entry> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.bytes -= entry.bytes(&key);
        self.order.remove(&entry.used);
        if let Some(at) = entry.expires {
            self.ends.remove(&(at + self.settings.keep_stale, key));
        }
        Some(entry)
    }

    /// Drops what is over.
    fn expire(&mut self, now: Monotonic) {
        while self.ends.first().is_some_and(|(at, _)| *at <= now) {
            let (_, key) = self.ends.pop_first().expect("it was just looked at");
            self.remove(&key);
            self.count(Tally::Expired);
        }
    }

    /// Drops what was used longest ago until the rest fits.
    fn make_room(&mut self) {
        while self.bytes > self.settings.bytes_max || self.entries.len() > self.settings.entries_max {
            let Some((_, key)) = self.order.pop_first() else { return };
            self.remove(&key);
            self.count(Tally::Evictions);
        }
    }
}
