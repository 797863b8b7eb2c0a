//! The shelf `foundations`: messages, failures, clocks and how to look at them.

crate::shelf! { "foundations":
    network_faults::NetworkFaults,
}
