//! Debug and release agree: the hashes that `cargo test` checks in the development profile are checked here in release.

use shaketable_tests::{GOLDEN, hashes};

#[test]
fn release_gives_the_hashes_of_the_development_profile() {
    let now = hashes();
    for (old, now) in GOLDEN.lines().zip(now.lines()) {
        assert_eq!(old, now);
    }
    assert_eq!(GOLDEN.lines().count(), now.lines().count());
}
