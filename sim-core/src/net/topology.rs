//! Who may talk to whom directly: a graph of nodes and links. Nothing is routed.

use petgraph::{algo, graphmap::DiGraphMap};

use super::Link;
use crate::{node::NodeId, rng::Rng};

/// A directed graph of links. Nodes without an edge between them cannot talk, unless the world also has a default link.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    graph: DiGraphMap<NodeId, Link>,
}

impl Topology {
    /// No links at all.
    pub fn new() -> Self {
        Self::default()
    }
    /// Everybody to everybody.
    pub fn full_mesh(nodes: &[NodeId], link: &Link) -> Self {
        let mut topology = Self::with_nodes(nodes);
        for (i, &a) in nodes.iter().enumerate() {
            for &b in &nodes[i + 1..] {
                topology.connect(a, b, link.clone());
            }
        }
        topology
    }
    /// Each to the next.
    pub fn line(nodes: &[NodeId], link: &Link) -> Self {
        let mut topology = Self::with_nodes(nodes);
        for pair in nodes.windows(2) {
            topology.connect(pair[0], pair[1], link.clone());
        }
        topology
    }
    /// Each to the next, the last to the first.
    pub fn ring(nodes: &[NodeId], link: &Link) -> Self {
        let mut topology = Self::line(nodes, link);
        if let [first, _, .., last] = nodes {
            topology.connect(*last, *first, link.clone());
        }
        topology
    }
    /// The first node to all others.
    pub fn star(nodes: &[NodeId], link: &Link) -> Self {
        let mut topology = Self::with_nodes(nodes);
        if let [centre, leaves @ ..] = nodes {
            for &leaf in leaves {
                topology.connect(*centre, leaf, link.clone());
            }
        }
        topology
    }
    /// A tree in which each node has up to `fanout` children, filled level by level.
    pub fn tree(nodes: &[NodeId], fanout: usize, link: &Link) -> Self {
        let mut topology = Self::with_nodes(nodes);
        for (i, &child) in nodes.iter().enumerate().skip(1) {
            topology.connect(nodes[(i - 1) / fanout.max(1)], child, link.clone());
        }
        topology
    }
    /// A grid with that many columns: each node to its neighbours left, right, above and below.
    pub fn grid(nodes: &[NodeId], columns: usize, link: &Link) -> Self {
        let columns = columns.max(1);
        let mut topology = Self::with_nodes(nodes);
        for (i, &node) in nodes.iter().enumerate() {
            if i % columns != 0 {
                topology.connect(nodes[i - 1], node, link.clone());
            }
            if i >= columns {
                topology.connect(nodes[i - columns], node, link.clone());
            }
        }
        topology
    }
    /// A random graph in which each node has exactly `degree` neighbours: the pairing model, followed by swaps that
    /// remove loops and double edges. `None` where no such graph exists (degree at least the number of nodes, or an odd
    /// number of ends).
    pub fn random_regular(nodes: &[NodeId], degree: usize, link: &Link, rng: &mut Rng) -> Option<Self> {
        let n = nodes.len();
        if degree >= n.max(1) || !(n * degree).is_multiple_of(2) {
            return None;
        }
        let mut ends: Vec<usize> = (0..n * degree).map(|i| i / degree).collect();
        rng.shuffle(&mut ends);
        let mut edges: Vec<(usize, usize)> = ends.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let sorted = |a: usize, b: usize| (a.min(b), a.max(b));
        let mut count = std::collections::BTreeMap::new();
        for &(a, b) in &edges {
            *count.entry(sorted(a, b)).or_insert(0_u32) += 1;
        }
        // Each bad edge swaps an end with a random other edge until both results are good; a bounded number of times.
        let mut budget = 200 * edges.len() + 1_000;
        while let Some(bad) = edges.iter().position(|&(a, b)| a == b || count[&sorted(a, b)] > 1) {
            if budget == 0 {
                return None;
            }
            budget -= 1;
            let other = rng.below(edges.len() as u64) as usize;
            let ((a, b), (c, d)) = (edges[bad], edges[other]);
            let (first, second) = (sorted(a, d), sorted(c, b));
            if other == bad
                || a == d
                || c == b
                || first == second
                || count.contains_key(&first)
                || count.contains_key(&second)
            {
                continue;
            }
            for old in [sorted(a, b), sorted(c, d)] {
                match count.get_mut(&old) {
                    Some(n) if *n > 1 => *n -= 1,
                    _ => drop(count.remove(&old)),
                }
            }
            count.insert(first, 1);
            count.insert(second, 1);
            edges[bad] = (a, d);
            edges[other] = (c, b);
        }
        let mut topology = Self::with_nodes(nodes);
        for (a, b) in edges {
            topology.connect(nodes[a], nodes[b], link.clone());
        }
        Some(topology)
    }

    fn with_nodes(nodes: &[NodeId]) -> Self {
        let mut topology = Self::new();
        for &node in nodes {
            topology.graph.add_node(node);
        }
        topology
    }

    /// Links two nodes in both directions, alike.
    pub fn connect(&mut self, a: NodeId, b: NodeId, link: Link) {
        self.graph.add_edge(a, b, link.clone());
        self.graph.add_edge(b, a, link);
    }
    /// Links one node to another, in that direction only.
    pub fn connect_one_way(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.graph.add_edge(from, to, link);
    }
    /// Takes the links of another topology in; the other's win.
    pub fn merge(&mut self, other: Self) {
        for (from, to, link) in other.graph.all_edges() {
            self.graph.add_edge(from, to, link.clone());
        }
    }
    /// The link from one node to another.
    pub fn link(&self, from: NodeId, to: NodeId) -> Option<&Link> {
        self.graph.edge_weight(from, to)
    }
    /// Whom a node can send to, in the order in which they were connected.
    pub fn neighbours(&self, node: NodeId) -> Vec<NodeId> {
        self.graph.neighbors(node).collect()
    }
    /// How many links there are, each direction counted.
    pub fn links(&self) -> usize {
        self.graph.edge_count()
    }
    /// Whether everybody can reach everybody, over others where need be.
    pub fn is_connected(&self) -> bool {
        algo::kosaraju_scc(&self.graph).len() <= 1
    }
    /// The largest number of links on a shortest path; `None` where somebody cannot be reached.
    pub fn diameter(&self) -> Option<u64> {
        let nodes = self.graph.node_count();
        let mut longest = 0;
        for node in self.graph.nodes() {
            let distances = algo::dijkstra(&self.graph, node, None, |_| 1_u64);
            if distances.len() < nodes {
                return None;
            }
            longest = longest.max(distances.into_values().max().unwrap_or(0));
        }
        Some(longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;

    fn nodes(n: u32) -> Vec<NodeId> {
        (0..n).map(NodeId).collect()
    }

    #[test]
    fn builders_make_the_graphs_that_they_are_named_after() {
        let (link, nodes) = (Link::default(), nodes(12));
        let shape = |t: &Topology| (t.links() / 2, t.diameter());
        assert_eq!(shape(&Topology::full_mesh(&nodes, &link)), (66, Some(1)));
        assert_eq!(shape(&Topology::line(&nodes, &link)), (11, Some(11)));
        assert_eq!(shape(&Topology::ring(&nodes, &link)), (12, Some(6)));
        assert_eq!(shape(&Topology::star(&nodes, &link)), (11, Some(2)));
        assert_eq!(shape(&Topology::tree(&nodes, 2, &link)), (11, Some(6)));
        assert_eq!(shape(&Topology::grid(&nodes, 4, &link)), (17, Some(5)));
        assert!(Topology::grid(&nodes, 4, &link).is_connected());
        assert!(!Topology::with_nodes(&nodes).is_connected());
    }

    #[test]
    fn a_random_regular_graph_is_regular_and_depends_on_the_seed() {
        let (link, nodes) = (Link::default(), nodes(50));
        let build =
            |seed| Topology::random_regular(&nodes, 5, &link, &mut Rng::new(&Key::root(seed))).unwrap();
        let graph = build(1);
        assert!(nodes.iter().all(|&n| graph.neighbours(n).len() == 5 && !graph.neighbours(n).contains(&n)));
        assert_eq!(graph.neighbours(NodeId(0)), build(1).neighbours(NodeId(0)));
        assert!((2..9).any(|seed| build(seed).neighbours(NodeId(0)) != graph.neighbours(NodeId(0))));
        assert!(Topology::random_regular(&nodes[..5], 3, &link, &mut Rng::new(&Key::root(1))).is_none());
        assert!(Topology::random_regular(&nodes[..5], 5, &link, &mut Rng::new(&Key::root(1))).is_none());
    }
}
