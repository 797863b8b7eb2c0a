//! What the tests over all crates share: every run of the catalogue, the golden hashes, and the program itself.

use std::{env, path::PathBuf, process::Command, sync::OnceLock};

use rayon::prelude::*;
use scenarios::lab::LabEntry;
use sim_core::record::{Recording, RecordingLevel};

/// The seeds of the determinism tests: the README's, the first, and one for good measure.
pub const SEEDS: [u64; 3] = [42, 1, 7];

/// One run of the catalogue.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which lab.
    pub lab: &'static LabEntry,
    /// Which variant.
    pub variant: String,
    /// Which seed.
    pub seed: u64,
}

impl Case {
    /// Every lab, variant and seed.
    pub fn all() -> Vec<Self> {
        scenarios::catalogue()
            .iter()
            .flat_map(|lab| lab.variants().into_iter().map(move |variant| (lab, variant.name.to_owned())))
            .flat_map(|(lab, variant)| SEEDS.map(|seed| Self { lab, variant: variant.clone(), seed }))
            .collect()
    }
    /// How it is named in messages and in the golden file.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.lab.name(), self.variant, self.seed)
    }
    /// Runs it.
    ///
    /// # Panics
    /// When the lab's own plan cannot be run.
    pub fn run(&self, level: RecordingLevel) -> Recording {
        let plan =
            self.lab.plan(&self.variant, self.seed, &[]).unwrap_or_else(|e| panic!("{}: {e}", self.name()));
        self.lab.run(&plan, level).unwrap_or_else(|e| panic!("{}: {e}", self.name()))
    }
    /// The line of the golden file.
    pub fn line(&self) -> String {
        let recording = self.run(RecordingLevel::Full);
        format!("{} {} {}", self.name(), recording.hash(), recording.run_hash)
    }
}

/// The golden file's text, worked out now, among as many workers as the machine has cores.
pub fn hashes() -> String {
    let mut lines: Vec<String> = Case::all().par_iter().map(Case::line).collect();
    lines.push(String::new());
    lines.join("\n")
}

/// The golden file: the hash of each run of the catalogue, the same on every machine and in every profile.
pub const GOLDEN: &str = include_str!("../golden/hashes.txt");

/// The `shaketable` program of this profile, built if need be.
///
/// # Panics
/// When it cannot be built.
pub fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "shaketable", "--bin", "shaketable"]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let status = build.current_dir(root()).status().expect("cargo runs");
        assert!(status.success(), "the program cannot be built");
        // The test's own binary lies in target/<profile>/deps.
        let mut folder = env::current_exe().expect("a test has a binary");
        folder.pop();
        if folder.ends_with("deps") {
            folder.pop();
        }
        folder.join(format!("shaketable{}", env::consts::EXE_SUFFIX))
    })
}

/// The root of the project.
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}
