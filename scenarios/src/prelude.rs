//! What a lab's file needs, in one `use scenarios::prelude::*;` (`use crate::prelude::*;` on a shelf).

pub use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

pub use delivery::Order;
pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};
pub use sim_core::{
    Node, NodeId, NodeSpec, Sim, codec, combine,
    fault::{
        DiskFault, Fault, FaultKind, FaultPlan, LinkChange, PacketAction, PacketRule, Partition, Target, When,
    },
    machine::{DiskSpec, disk::CrashPolicy},
    net::{
        Link, Topology,
        rpc::{Call, CallError, Request},
    },
    protocol::Protocol,
    record::{Counter, Gauge, Histogram, RecordingLevel, SpanIndex, SpanKind},
    rng::{Delay, Rng},
    sync,
    time::{Duration, Monotonic, SimTime, Wall, mins, ms, ns, secs, us},
};

pub use crate::{
    cast::*,
    lab::{
        About, Expectations, Lab, Variants,
        expectations::{with_knob, without_faults},
        misses, misses_in,
    },
    measure::{
        Bounds, Check, Measure, MeasureError, Measures, Run, SpanView, Times, attempt, check, percent,
    },
};
