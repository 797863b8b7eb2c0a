//! The shelf `storage`: what is on the disk after the crash.

crate::shelf! { "storage":
    write_ahead_log::WriteAheadLog,
}
