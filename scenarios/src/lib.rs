//! The labs.
pub mod measure;
pub mod lab {
    pub mod knobs;
    pub mod nearest;
}
