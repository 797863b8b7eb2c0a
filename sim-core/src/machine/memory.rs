//! Memory: a count of bytes with a limit, past which the node is killed.

use crate::{
    node::{Node, NodeId},
    world::Core,
};

/// The memory of one node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// The limit now, and the node's own, which is back when a fault that changed it is over.
    pub(crate) limit: Option<u64>,
    pub(crate) own_limit: Option<u64>,
    pub(crate) used: u64,
}

impl Memory {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Self { limit, own_limit: limit, used: 0 }
    }
}

/// Memory in use; given back when dropped.
pub struct Allocation {
    node: Node,
    bytes: u64,
}

impl Node {
    /// Takes that many bytes. Past the limit the node is killed at once: the caller's future never goes on.
    pub fn allocate(&self, bytes: u64) -> Allocation {
        let allocation = Allocation { node: self.clone(), bytes };
        let mut core = self.core();
        if self.is_current(&core) {
            core.nodes[self.id().index()].memory.used += bytes;
            core.memory_check(self.id());
        }
        drop(core);
        allocation
    }
    /// Bytes in use.
    pub fn memory_used(&self) -> u64 {
        self.core().nodes[self.id().index()].memory.used
    }
}

impl Allocation {
    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
    /// Grows or shrinks to that many bytes; growing may kill the node.
    pub fn resize(&mut self, bytes: u64) {
        let id = self.node.id();
        let mut core = self.node.core();
        if self.node.is_current(&core) {
            let memory = &mut core.nodes[id.index()].memory;
            memory.used = memory.used - self.bytes + bytes;
            self.bytes = bytes;
            core.memory_check(id);
        }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        let id = self.node.id();
        let mut core = self.node.core();
        if self.node.is_current(&core) {
            core.nodes[id.index()].memory.used -= self.bytes;
        }
    }
}

impl Core {
    /// Kills the node if it uses more than it may. Gives whether it did. A fault that has set the limit has touched what
    /// would have gone otherwise with the node's own.
    pub(crate) fn memory_check(&mut self, node: NodeId) -> bool {
        let Memory { limit, own_limit, used } = self.nodes[node.index()].memory;
        let over = |limit: Option<u64>| limit.is_some_and(|limit| used > limit);
        let killed = over(limit);
        if killed != over(own_limit) {
            self.touch_memory_faults(node, used);
        }
        if killed {
            self.crash(node, false, "out of memory");
        }
        killed
    }
}
