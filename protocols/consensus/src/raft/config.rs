//! A server's configuration: who it is, how patient it is, its switches, and the known bugs that can be put back.

use sim_core::{
    NodeId,
    protocol::Durability,
    time::{Duration, ms, secs},
};

/// How far a lease must be shortened is counted in parts in a million.
const MILLION: u128 = 1_000_000;

/// A server's configuration. [`Config::new`] has the timings of the paper's own measurements and every safeguard on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// This server.
    pub id: NodeId,
    /// The first voters, the same list on each of them. Empty for a server that is to be added later.
    pub voters: Vec<NodeId>,
    /// A follower waits at least so long for its leader...
    pub election_timeout_min: Duration,
    /// ...and at most so long: each time a random time between the two.
    pub election_timeout_max: Duration,
    /// From one heartbeat of the leader to the next.
    pub heartbeat: Duration,
    /// A candidate first asks whether it could win before it raises its term (thesis, section 9.6).
    pub pre_vote: bool,
    /// A leader that has not heard from a majority for `election_timeout_max` steps down (thesis, section 6.2).
    pub check_quorum: bool,
    /// Who has heard from a leader within `election_timeout_min` ignores candidates (thesis, section 4.2.3). Leases need it.
    pub stickiness: bool,
    /// How long a majority's answer lets the leader read alone, by an exact clock; at most `election_timeout_min`.
    pub lease: Duration,
    /// By how much each server's clock may be wrong, in parts in a million, too fast or too slow.
    pub drift_bound: u32,
    /// Entries of one `AppendEntries`: about so many bytes at most, and one entry at least.
    pub batch_bytes: usize,
    /// So many `AppendEntries` with entries may be on their way to a follower.
    pub in_flight: usize,
    /// A part of a snapshot: so many bytes at most.
    pub chunk_bytes: usize,
    /// A part of a snapshot that has not been answered for so long is sent again.
    pub resend_after: Duration,
    /// So many entries stay in the log behind a snapshot, for followers that are a little late.
    pub keep: u64,
    /// A learner may become a voter when it lacks at most so many entries; without a number, at any time.
    pub catch_up: Option<u64>,
    /// Whether answers wait for the disk. With anything but [`Durability::BeforeAnswers`] a power failure loses what was
    /// acknowledged.
    pub durability: Durability,
    /// Known bugs, put back.
    pub flaws: Flaws,
}

/// Known bugs of Raft implementations, each a switch. All off is Raft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flaws {
    /// An entry of any term counts as committed when a majority holds it (figure 8 of the paper).
    pub commit_any_term: bool,
    /// A new leader appends no entry of its own.
    pub no_noop: bool,
    /// A leader may change the configuration before an entry of its own term is committed (the bug of 2015).
    pub change_before_own_commit: bool,
    /// The vote is not persisted.
    pub forget_vote: bool,
    /// A follower cuts its log after what an `AppendEntries` brought, although nothing contradicts.
    pub truncate_on_stale: bool,
    /// A lease is shortened for the leader's own clock only: E x (1 - d) instead of E x (1 - d) / (1 + d).
    pub lease_ignores_others: bool,
}

impl Config {
    /// One of these voters: election time-out 150 to 300 ms, heartbeat 50 ms, clocks within 1 %, every safeguard on.
    pub fn new(id: NodeId, voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            id,
            voters: voters.into_iter().collect(),
            election_timeout_min: ms(150),
            election_timeout_max: ms(300),
            heartbeat: ms(50),
            pre_vote: true,
            check_quorum: true,
            stickiness: true,
            lease: ms(150),
            drift_bound: 10_000,
            batch_bytes: 64 * 1024,
            in_flight: 4,
            chunk_bytes: 64 * 1024,
            resend_after: ms(150),
            keep: 50,
            catch_up: Some(100),
            durability: Durability::BeforeAnswers,
            flaws: Flaws::default(),
        }
    }
    /// Another range of election time-outs; the lease becomes the shorter end.
    #[must_use]
    pub fn election_timeout(self, min: Duration, max: Duration) -> Self {
        Self { election_timeout_min: min, election_timeout_max: max, lease: min, resend_after: min, ..self }
    }

    /// How long a lease lasts on the leader's clock, from the sending of what a majority has answered. In real time a
    /// leader whose clock is slow by d holds it for that long / (1 - d), and a follower whose clock is fast by d keeps its
    /// promise for only E / (1 + d): so it must be E x (1 - d) / (1 + d).
    pub fn lease_on_own_clock(&self) -> Duration {
        let drift = u128::from(self.drift_bound).min(MILLION);
        let others = if self.flaws.lease_ignores_others { MILLION } else { MILLION + drift };
        let nanos = u128::from(self.lease.as_nanos()) * (MILLION - drift) / others;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Whether the configuration makes sense. What does not still never panics.
    ///
    /// # Errors
    /// Says which field is wrong and what is allowed.
    pub fn validate(&self) -> Result<(), String> {
        let fail = |text: &str| Err(text.to_owned());
        if self.election_timeout_min.is_zero() || self.election_timeout_min > self.election_timeout_max {
            return fail("`election_timeout_min` must be more than 0s and at most `election_timeout_max`");
        }
        if self.heartbeat.is_zero()
            || self.heartbeat > self.election_timeout_max
            || self.heartbeat > secs(3_600)
        {
            return fail("`heartbeat` must be more than 0s and at most `election_timeout_max`");
        }
        if self.lease > self.election_timeout_min {
            return fail(
                "`lease` must be at most `election_timeout_min`: that is how long followers promise",
            );
        }
        if u128::from(self.drift_bound) >= MILLION {
            return fail("`drift_bound` must be below 1,000,000 parts in a million");
        }
        if self.in_flight == 0 || self.batch_bytes == 0 || self.chunk_bytes == 0 {
            return fail("`in_flight`, `batch_bytes` and `chunk_bytes` must be at least 1");
        }
        Ok(())
    }
}
