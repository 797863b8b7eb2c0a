//! The shelf `membership`: who is here, who is gone, and how the news spreads.

crate::shelf! { "membership":
    failure_detector::FailureDetector,
}
