//! What a lab's file needs, in one `use scenarios::prelude::*;` (`use crate::prelude::*;` on a shelf).

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use sim_core::{
    Node, NodeId, NodeSpec, Sim, combine,
    fault::{
        DiskFault, Fault, FaultKind, FaultPlan, LinkChange, PacketAction, PacketRule, Partition, Target, When,
    },
    machine::DiskSpec,
    net::{
        Link, Topology,
        rpc::{Call, CallError, Request},
    },
    record::RecordingLevel,
    rng::{Delay, Rng},
    sync,
    time::{Duration, SimTime, mins, ms, ns, secs, us},
};

pub use crate::{
    cast::*,
    lab::{
        About, Expectations, Lab, Variants,
        expectations::{with_knob, without_faults},
        misses, misses_in,
    },
    measure::{Bounds, Check, Measure, MeasureError, Measures, Run, attempt, check, percent},
};
