//! Machines: processors, memory, disks and clocks of nodes.

pub mod clock;
pub(crate) mod cpu;
pub mod disk;
pub(crate) mod drive;
pub(crate) mod memory;

pub use cpu::Discipline;
pub use drive::{Disk, DiskSpec, File};
pub use memory::Allocation;
