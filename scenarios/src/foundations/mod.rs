//! The shelf `foundations`: messages, failures, clocks and how to look at them.

crate::shelf! { "foundations":
    finding_slow_service::FindingSlowService,
    network_faults::NetworkFaults,
}
