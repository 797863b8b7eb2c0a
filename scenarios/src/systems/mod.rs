//! The shelf `systems`: whole systems, put together from the other shelves.

crate::shelf! { "systems": }
