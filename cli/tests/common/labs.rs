//! The labs that the tests run: small, and with everything that a command can meet.

#[path = "till.rs"]
pub mod till;

use scenarios::lab::LabEntry;

pub fn labs() -> Vec<LabEntry> {
    vec![LabEntry::of::<till::Till>("load", "till_queue", include_str!("till.rs"))]
}
