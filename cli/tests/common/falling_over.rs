//! # Falling over
//!
//! A lab that cannot be built.
//!
//! ## Predict
//! - Will it stand?
//!
//! ## Watch
//! - The ceiling.
//!
//! ## Try next
//! - Another lab.

use scenarios::prelude::*;

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
pub struct FallingOver {}

impl Lab for FallingOver {
    const ABOUT: About = About::NONE;

    fn variants() -> Variants<Self> {
        Variants::broken("only", Self {}, misses("it stands"))
    }
    fn build(self, _: &mut Sim) {
        panic!("the ceiling fell");
    }
    fn expect() -> Expectations {
        Expectations::new().goal("it stands", |run| run.count("walls").at_least(4))
    }
}
