//! Random sequences of operations on a disk, which shrink to short ones: proptest leaves operations out, makes numbers
//! small and turns later alternatives into earlier ones, so that a failing sequence ends as a few writes and a crash.

use proptest::prelude::*;
use sim_core::machine::disk::CrashPolicy;

/// The files that operations are about: few, so that renames hit existing names.
pub const NAMES: [&str; 3] = ["a", "b", "c"];

/// One call, or a power failure. Offsets and lengths in bytes.
#[derive(Clone, Debug)]
pub enum Operation {
    Write {
        file: &'static str,
        offset: usize,
        len: usize,
    },
    Append {
        file: &'static str,
        len: usize,
    },
    Truncate {
        file: &'static str,
        len: usize,
    },
    Rename {
        from: &'static str,
        to: &'static str,
    },
    Delete {
        file: &'static str,
    },
    Sync {
        file: &'static str,
    },
    BeginSync {
        file: &'static str,
    },
    /// One of the syncs that have begun.
    CompleteSync {
        index: usize,
    },
    SyncDirectory,
    SyncAll,
    FailSyncs {
        count: u32,
    },
    Crash {
        policy: CrashPolicy,
        seed: u64,
    },
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn policy() -> impl Strategy<Value = CrashPolicy> {
    prop_oneof![
        Just(CrashPolicy::LoseUnsynced),
        Just(CrashPolicy::TearFirst),
        Just(CrashPolicy::KeepPrefix),
        Just(CrashPolicy::KeepRandomSectors),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (name(), 0_usize..16, 1_usize..10).prop_map(|(file, offset, len)| Operation::Write { file, offset, len }),
        4 => (name(), 1_usize..10).prop_map(|(file, len)| Operation::Append { file, len }),
        2 => (name(), 0_usize..24).prop_map(|(file, len)| Operation::Truncate { file, len }),
        3 => (name(), name()).prop_map(|(from, to)| Operation::Rename { from, to }),
        1 => name().prop_map(|file| Operation::Delete { file }),
        4 => name().prop_map(|file| Operation::Sync { file }),
        2 => name().prop_map(|file| Operation::BeginSync { file }),
        2 => (0_usize..4).prop_map(|index| Operation::CompleteSync { index }),
        1 => Just(Operation::SyncDirectory),
        1 => Just(Operation::SyncAll),
        1 => (1_u32..3).prop_map(|count| Operation::FailSyncs { count }),
        2 => (policy(), any::<u64>()).prop_map(|(policy, seed)| Operation::Crash { policy, seed }),
    ]
}

/// Up to 24 operations, then a crash.
pub fn operations() -> impl Strategy<Value = Vec<Operation>> {
    (prop::collection::vec(operation(), 0..24), policy(), any::<u64>()).prop_map(
        |(mut operations, policy, seed)| {
            operations.push(Operation::Crash { policy, seed });
            operations
        },
    )
}

/// A stream of words from a seed (SplitMix64).
pub fn words(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}
