//! Label sets as trees of tokens: what several labels begin with alike is read by the decoder once. Pure; the decoder's pass over
//! trees is `scoring`'s.

use std::collections::HashMap;

/// Nodes of a tree: attention's memory grows with their square, and more of them gain nothing. A larger set is several trees. One
/// label that is longer has a tree of its own.
const MAX_NODES: usize = 512;

/// What is wanted of a label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Each label's log-likelihood.
    LogLikelihoods,
    /// Numbers that differ from the log-likelihoods by one that is the same for all labels of the set, which is enough for each
    /// label's share of the likelihood, and takes fewer products with the whole vocabulary.
    Shares,
}

/// What an edge counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The token's score as it comes from the output layer.
    Logit,
    /// The same less the logarithm of the sum of all tokens' exponentiated scores at its node.
    LogProbability,
}

/// A token that may follow a node: the way to another, or to a label's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The node after which it is said.
    pub node: usize,
    /// The token.
    pub token: i64,
    /// What it counts for.
    pub weight: Weight,
}

/// Labels with their common beginnings. A decoder reads all nodes in one pass: the node `n` reads the token `tokens[n]` at the
/// position `depths[n]` and sees itself and its ancestors (`parents[n]`, the parent of that, and so on to node 0), no other; the
/// bias of a node's look at an ancestor is that of the difference of their depths. What the output layer makes of a node's hidden
/// state scores the tokens that may follow it, of which `edges` names those that count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelTree {
    /// What the decoder reads at each node: its start token at node 0, the root; at another, the token that leads to it from its
    /// parent. A label's last token is read nowhere, for nothing follows it.
    pub tokens: Vec<i64>,
    /// The node before each, which has a smaller number; the root's is 0.
    pub parents: Vec<usize>,
    /// How many tokens lie before each.
    pub depths: Vec<usize>,
    /// What is to be weighed, each once, in no order that means anything.
    pub edges: Vec<Edge>,
    /// For each label its place in the set and the edges that add up to its score.
    labels: Vec<(usize, Vec<usize>)>,
}

/// A label set as one tree, or as several where it is large.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelTrees {
    pub(super) trees: Vec<LabelTree>,
    labels: usize,
}

impl LabelTrees {
    /// `labels` as token ids, each with its `</s>`; `start` is the decoder's start token.
    pub fn new(start: i64, labels: &[Vec<i64>], wanted: Wanted) -> Self {
        Self::of_nodes(MAX_NODES, start, labels, wanted)
    }

    fn of_nodes(most: usize, start: i64, labels: &[Vec<i64>], wanted: Wanted) -> Self {
        let common = Common::of(labels, wanted);
        let mut order: Vec<usize> = (0..labels.len()).collect();
        // Labels that begin alike lie beside each other, and so in one tree.
        order.sort_by_key(|place| &labels[*place]);
        let (mut trees, mut growing) = (Vec::new(), Growing::new(start));
        for place in order {
            let label = &labels[place];
            if !growing.tree.labels.is_empty() && growing.tree.tokens.len() + growing.lacks(label) > most {
                trees.push(std::mem::replace(&mut growing, Growing::new(start)).tree);
            }
            growing.add(place, label, common);
        }
        trees.push(growing.tree);
        Self { trees, labels: labels.len() }
    }

    /// How many labels there are.
    pub fn count(&self) -> usize {
        self.labels
    }
}

impl LabelTree {
    /// Writes the score of each label to its place, from those of the `edges` in their order.
    pub fn add_up(&self, of_edges: &[f64], of_labels: &mut [f64]) {
        for (place, edges) in &self.labels {
            of_labels[*place] = edges.iter().map(|edge| of_edges[*edge]).sum();
        }
    }

    /// A node and its ancestors, the root last.
    pub fn line(&self, node: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(node), |node| (*node > 0).then(|| self.parents[*node]))
    }
}

/// What counts for no label's share, because it counts for all alike. A label's log-likelihood is a sum over its edges of the
/// token's logit less its node's normalizer, and a share does not change where the same is taken from all sums. So the edges that
/// all labels begin with need not be weighed at all; and where they part for the first time (at the root, as a rule) their logits
/// alone count, because the normalizer there is that of all, unless a label has ended before. Further down a normalizer is that
/// of some labels and not of others.
#[derive(Clone, Copy)]
struct Common {
    /// Edges that all labels begin with.
    edges: usize,
    /// Nodes that all labels go on from.
    nodes: usize,
}

impl Common {
    fn of(labels: &[Vec<i64>], wanted: Wanted) -> Self {
        let Some((first, others)) = labels.split_first().filter(|_| wanted == Wanted::Shares) else {
            return Self { edges: 0, nodes: 0 };
        };
        let alike = |other: &Vec<i64>| first.iter().zip(other).take_while(|(one, other)| one == other).count();
        let edges = others.iter().map(alike).min().unwrap_or(first.len());
        let shortest = labels.iter().map(Vec::len).min().unwrap_or_default();
        Self { edges, nodes: shortest.min(edges + 1) }
    }

    /// What the edge after so many others counts for.
    fn weight(self, depth: usize) -> Option<Weight> {
        let weight = if depth < self.nodes { Weight::Logit } else { Weight::LogProbability };
        (depth >= self.edges).then_some(weight)
    }
}

/// A tree that labels are added to.
struct Growing {
    tree: LabelTree,
    /// By node and token after it.
    children: HashMap<(usize, i64), usize>,
    edges: HashMap<(usize, i64), usize>,
}

impl Growing {
    fn new(start: i64) -> Self {
        let tree = LabelTree { tokens: vec![start], parents: vec![0], depths: vec![0], ..LabelTree::default() };
        Self { tree, children: HashMap::new(), edges: HashMap::new() }
    }

    /// Nodes that a label needs and that are not there.
    fn lacks(&self, label: &[i64]) -> usize {
        let (mut node, read) = (Some(0), label.split_last().map_or(label, |(_, read)| read));
        let known = read.iter().take_while(|token| {
            node = node.and_then(|node| self.children.get(&(node, **token)).copied());
            node.is_some()
        });
        read.len() - known.count()
    }

    fn add(&mut self, place: usize, label: &[i64], common: Common) {
        let (mut node, mut path) = (0, Vec::new());
        for (depth, token) in label.iter().copied().enumerate() {
            if let Some(weight) = common.weight(depth) {
                path.push(self.edge(Edge { node, token, weight }));
            }
            if depth + 1 < label.len() {
                node = self.child(node, token);
            }
        }
        self.tree.labels.push((place, path));
    }

    fn edge(&mut self, edge: Edge) -> usize {
        let tree = &mut self.tree;
        *self.edges.entry((edge.node, edge.token)).or_insert_with(|| {
            tree.edges.push(edge);
            tree.edges.len() - 1
        })
    }

    fn child(&mut self, node: usize, token: i64) -> usize {
        let tree = &mut self.tree;
        *self.children.entry((node, token)).or_insert_with(|| {
            tree.tokens.push(token);
            tree.parents.push(node);
            tree.depths.push(tree.depths[node] + 1);
            tree.tokens.len() - 1
        })
    }
}

#[cfg(test)]
#[path = "label_tree_tests.rs"]
mod tests;
