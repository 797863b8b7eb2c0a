//! Labs: each tells what happens to a distributed system, lets it happen, and holds what came of it against what the story
//! says.
//!
//! [`lab`] says how to write one, [`cast`] holds the parts they are played with, [`measure`] what can be asked of a run, and [`catalogue`] lists them all, in teaching order.

pub mod cast;
pub mod gallery;
pub mod lab;
pub mod measure;
pub mod prelude;

use std::sync::LazyLock;

use lab::{LabEntry, UnknownLab, find_in};

/// Declares the shelves, in teaching order.
macro_rules! shelves {
    ($($shelf:ident),* $(,)?) => {
        $(pub mod $shelf;)*

        static CATALOGUE: LazyLock<Vec<LabEntry>> = LazyLock::new(|| [$($shelf::labs()),*].into_iter().flatten().collect());
    };
}

shelves! {
    foundations,
    time,
    resilience,
    load,
    caching,
    membership,
    coordination,
    replication,
    consensus,
    consistency,
    partitioning,
    transactions,
    messaging,
    storage,
    sketches,
    delivery,
    systems,
}

/// All labs, in teaching order. The list is made at the first call.
pub fn catalogue() -> &'static [LabEntry] {
    &CATALOGUE
}

/// The lab of that name.
///
/// # Errors
/// When there is none; names the nearest.
pub fn find(name: &str) -> Result<&'static LabEntry, UnknownLab> {
    find_in(catalogue(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lab_is_well_formed_and_its_name_is_taken_once() {
        let mut names: Vec<&str> = catalogue().iter().map(LabEntry::name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "{names:?}");
        for lab in catalogue() {
            assert_eq!(lab.problems(), Vec::<String>::new(), "{}", lab.name());
            assert_eq!(find(lab.name()).map(LabEntry::name), Ok(lab.name()));
        }
    }
}
