//! The labs that the tests run: small, and with everything that a command can meet.

#[path = "falling_over.rs"]
pub mod falling_over;
#[path = "till.rs"]
pub mod till;
#[path = "wishful.rs"]
pub mod wishful;

use scenarios::lab::LabEntry;

pub fn labs() -> Vec<LabEntry> {
    vec![
        LabEntry::of::<till::Till>("load", "till_queue", include_str!("till.rs")),
        LabEntry::of::<wishful::Wishful>("foundations", "wishful", include_str!("wishful.rs")),
        LabEntry::of::<falling_over::FallingOver>(
            "foundations",
            "falling_over",
            include_str!("falling_over.rs"),
        ),
    ]
}
