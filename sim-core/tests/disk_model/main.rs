//! The simulated disk against a model of what a crash may leave.
//!
//! Goal: whatever a program does before a power failure, the disk afterwards is one that its promises permit, and all that
//! was synced is there. Method: random operations on three small files (sectors of four bytes, so that writes tear often)
//! go to the disk and to a model. Before a crash both must show the same. After one, the disk must be among the outcomes
//! that the model permits under that policy; then the model takes it as it is and the run goes on.

mod model;
mod operations;

use proptest::prelude::*;
use sim_core::machine::disk::{CrashPolicy, DiskState};

use model::{Change, Model, SECTOR_SIZE};
use operations::{Operation, operations, words};

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_leaves_only_what_the_model_permits(operations in operations()) {
        let mut disk = DiskState::new(SECTOR_SIZE as u32);
        let mut model = Model::default();
        for operation in &operations {
            step(&mut disk, &mut model, operation)?;
            compare(&disk, &model)?;
        }
    }
}

/// What readers see, and what is listed as unsynced, is the same.
fn compare(disk: &DiskState, model: &Model) -> Result<(), TestCaseError> {
    prop_assert!(disk.list("").into_iter().eq(model.names.keys().copied()), "names {:?}", disk.list(""));
    for (name, &id) in &model.names {
        let cached = &model.files[id].cached;
        prop_assert_eq!(disk.read(name, 0, u64::MAX), Ok(cached.as_slice()), "file {}", name);
        prop_assert_eq!(disk.len(name), Ok(cached.len() as u64));
    }
    let places = |change: &Change| match change {
        Change::Write(offset, bytes) => (*offset as u64, bytes.len() as u64),
        Change::Length(length) => (*length as u64, 0),
    };
    let expected = model.unsynced().into_iter().map(|(id, change)| (id, places(change)));
    let listed = disk
        .unsynced()
        .into_iter()
        .map(|write| (model.names[write.file.as_str()], (write.offset, write.len)));
    prop_assert!(listed.eq(expected), "unsynced {:?}", disk.unsynced());
    let dirty: u64 = disk.unsynced().iter().map(|write| write.len).sum();
    prop_assert_eq!(disk.dirty_bytes(), dirty);
    let used: usize = model.names.values().map(|&id| model.files[id].cached.len()).sum();
    prop_assert_eq!(disk.used_bytes(), used as u64);
    Ok(())
}

/// Carries out one operation on both.
fn step(disk: &mut DiskState, model: &mut Model, operation: &Operation) -> Result<(), TestCaseError> {
    match operation {
        Operation::Write { file, offset, len } => {
            let bytes = model.fresh_bytes(*len);
            prop_assert_eq!(disk.write_at(file, *offset as u64, &bytes), Ok(()));
            model.write(file, *offset, bytes);
        }
        Operation::Append { file, len } => {
            let bytes = model.fresh_bytes(*len);
            let end = model.names.get(file).map_or(0, |&id| model.files[id].cached.len());
            // Longer files only make more outcomes to enumerate.
            if end <= 20 {
                prop_assert_eq!(disk.append(file, &bytes), Ok(end as u64));
                model.write(file, end, bytes);
            }
        }
        Operation::Truncate { file, len } => {
            prop_assert_eq!(disk.truncate(file, *len as u64).is_ok(), model.truncate(file, *len));
        }
        Operation::Rename { from, to } => {
            prop_assert_eq!(disk.rename(from, to).is_ok(), model.rename(from, to));
        }
        Operation::Delete { file } => prop_assert_eq!(disk.delete(file).is_ok(), model.delete(file)),
        Operation::Sync { file } => {
            if let Some(&id) = model.names.get(file) {
                let end = model.end();
                prop_assert_eq!(disk.fsync(file).is_ok(), model.sync(id, end));
            } else {
                prop_assert!(disk.fsync(file).is_err());
            }
        }
        Operation::BeginSync { file } => {
            if let Some(&id) = model.names.get(file) {
                let ticket = disk.begin_sync(file);
                prop_assert!(ticket.is_ok());
                model.begun.extend(ticket.map(|ticket| (ticket, id, model.end())));
            }
        }
        Operation::CompleteSync { index } => {
            if !model.begun.is_empty() {
                let (ticket, id, end) = model.begun.swap_remove(index % model.begun.len());
                let done = disk.complete_sync(ticket).is_ok();
                if end == Model::BEFORE_CRASH {
                    prop_assert!(!done);
                } else {
                    let deleted = model.files[id].may_be_gone;
                    let expected = model.sync(id, end);
                    // Whether a deleted file still reports its failed write-back is nobody's business.
                    prop_assert!(done == expected || deleted);
                }
            }
        }
        Operation::SyncDirectory => prop_assert_eq!(disk.sync_directory().is_ok(), model.sync_directory()),
        Operation::SyncAll => prop_assert_eq!(disk.sync_all().is_ok(), model.sync_all()),
        Operation::FailSyncs { count } => {
            disk.fail_syncs(sim_core::machine::disk::FailingSyncs::Next(*count));
            model.failing = *count;
        }
        Operation::Crash { policy, seed } => {
            crash(disk, model, *policy, *seed)?;
        }
    }
    Ok(())
}

fn crash(
    disk: &mut DiskState,
    model: &mut Model,
    policy: CrashPolicy,
    seed: u64,
) -> Result<(), TestCaseError> {
    let (writes, bytes) = (disk.unsynced().len() as u64, disk.dirty_bytes());
    let report = disk.crash(policy, &mut words(seed));
    prop_assert_eq!(report.writes_kept + report.writes_torn + report.writes_lost, writes);
    prop_assert_eq!(report.bytes_kept + report.bytes_lost, bytes);
    prop_assert_eq!(disk.dirty_bytes(), 0);

    let found: Vec<(&'static str, Vec<u8>)> = operations::NAMES
        .into_iter()
        .filter_map(|name| Some((name, disk.read(name, 0, u64::MAX).ok()?.to_vec())))
        .collect();
    prop_assert_eq!(found.len(), disk.list("").len());
    prop_assert!(model.permits(policy, &found), "{:?} left {:?} of {:#?}", policy, found, model);
    model.restart(found);

    // Nothing is unsynced now, so a second crash changes nothing.
    let mut again = disk.clone();
    again.crash(CrashPolicy::LoseUnsynced, &mut || panic!("nothing is undecided any more"));
    compare(&again, model)
}
