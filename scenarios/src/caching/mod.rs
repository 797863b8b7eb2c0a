//! The shelf `caching`: what a cache saves, and what it costs when it is empty, stale or gone.

crate::shelf! { "caching":
    thundering_herd::ThunderingHerd,
}
