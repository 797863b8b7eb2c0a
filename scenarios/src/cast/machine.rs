//! What a part's nodes are made of, beyond what the part itself says.

use sim_core::NodeSpec;

/// Changes to a part's node specification, in order.
#[derive(Default)]
pub(super) struct Machine {
    changes: Vec<Box<dyn Fn(NodeSpec) -> NodeSpec>>,
}

impl Machine {
    /// A machine with so many cores, to begin with.
    pub(super) fn cores(cores: u32) -> Self {
        let mut machine = Self::default();
        machine.change(move |m| m.cores(cores));
        machine
    }
    /// One more change.
    pub(super) fn change(&mut self, change: impl Fn(NodeSpec) -> NodeSpec + 'static) {
        self.changes.push(Box::new(change));
    }
    /// The specification of a node of that name.
    pub(super) fn spec(&self, name: impl Into<String>) -> NodeSpec {
        self.changes.iter().fold(NodeSpec::new(name), |spec, change| change(spec))
    }
}
