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
mod tests {
    use super::*;

    const START: i64 = 0;
    const END: i64 = 1;

    /// A made-up score of a token after others, and a made-up normalizer there.
    fn logit(before: &[i64], token: i64) -> f64 {
        before.iter().fold(token as f64, |sum, id| (sum * 7.0 + *id as f64 + 1.0) % 13.0)
    }

    fn normalizer(before: &[i64]) -> f64 {
        logit(before, 29) / 3.0 + before.len() as f64
    }

    fn plain(label: &[i64]) -> f64 {
        (0..label.len()).map(|at| logit(&label[..at], label[at]) - normalizer(&label[..at])).sum()
    }

    /// What the trees make of the same scores.
    fn of_trees(trees: &LabelTrees) -> Vec<f64> {
        let mut scores = vec![f64::NAN; trees.count()];
        for tree in &trees.trees {
            let score = |edge: &Edge| {
                let mut before: Vec<i64> = tree.line(edge.node).map(|node| tree.tokens[node]).collect();
                assert_eq!((before.len(), before.pop()), (tree.depths[edge.node] + 1, Some(START)));
                before.reverse();
                let all = if edge.weight == Weight::LogProbability { normalizer(&before) } else { 0.0 };
                logit(&before, edge.token) - all
            };
            assert!(tree.parents.iter().enumerate().skip(1).all(|(node, parent)| *parent < node));
            tree.add_up(&tree.edges.iter().map(score).collect::<Vec<_>>(), &mut scores);
        }
        scores
    }

    fn shares(scores: &[f64]) -> Vec<f64> {
        let total: f64 = scores.iter().map(|score| score.exp()).sum();
        scores.iter().map(|score| score.exp() / total).collect()
    }

    fn assert_close(found: &[f64], right: &[f64], labels: &[Vec<i64>]) {
        let close = found.iter().zip(right).all(|(one, other)| (one - other).abs() < 1e-9);
        assert!(close && found.len() == right.len(), "{found:?} {right:?} {labels:?}");
    }

    /// Sets of up to 9 labels of few different tokens, so that they begin alike, repeat, and one is another's beginning.
    fn random_sets() -> impl Iterator<Item = Vec<Vec<i64>>> {
        let mut state = 17_u64;
        let mut draw = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        (0..300).map(move |set| {
            let (labels, alike, ends) = (1 + draw(9), draw(3), set % 2 == 0);
            let label = |_| {
                let length = draw(4) + u64::from(!ends);
                let said = (0..length).map(|_| 5 + draw(3).cast_signed()).collect::<Vec<i64>>();
                let end = if ends { vec![END] } else { Vec::new() };
                [vec![9; alike as usize], said, end].concat()
            };
            (0..labels).map(label).collect()
        })
    }

    #[test]
    fn edges_of_a_tree_add_up_to_what_each_label_adds_up_to() {
        for labels in random_sets() {
            let right: Vec<f64> = labels.iter().map(|label| plain(label)).collect();
            for most in [1, 3, MAX_NODES] {
                let trees = LabelTrees::of_nodes(most, START, &labels, Wanted::LogLikelihoods);
                assert_close(&of_trees(&trees), &right, &labels);
                let trees = LabelTrees::of_nodes(most, START, &labels, Wanted::Shares);
                assert_close(&shares(&of_trees(&trees)), &shares(&right), &labels);
            }
        }
    }

    fn tree(labels: &[&[i64]], wanted: Wanted) -> LabelTree {
        let labels: Vec<Vec<i64>> = labels.iter().map(|label| label.to_vec()).collect();
        let trees = LabelTrees::new(START, &labels, wanted).trees;
        assert_eq!(trees.len(), 1);
        trees.into_iter().next().unwrap()
    }

    fn normalized(tree: &LabelTree) -> usize {
        tree.edges.iter().filter(|edge| edge.weight == Weight::LogProbability).count()
    }

    #[test]
    fn what_labels_begin_with_alike_is_read_once() {
        let tree = tree(&[&[7, 8, END], &[5, END], &[7, 8, 9, END], &[7, 8, END]], Wanted::LogLikelihoods);
        assert_eq!(tree.tokens, [START, 5, 7, 8, 9]);
        assert_eq!(tree.parents, [0, 0, 0, 2, 3]);
        assert_eq!(tree.depths, [0, 1, 1, 2, 3]);
        assert_eq!((tree.edges.len(), normalized(&tree)), (7, 7));
    }

    #[test]
    fn a_share_needs_no_normalizer_where_all_labels_go_on() {
        // At the root, where they part, two logits; at each first token, its end.
        let parted = tree(&[&[7, END], &[5, END]], Wanted::Shares);
        assert_eq!((parted.edges.len(), normalized(&parted)), (4, 2));
        // All begin with 9: that is not weighed. After it they part.
        let later = tree(&[&[9, 7, END], &[9, 5, END]], Wanted::Shares);
        assert_eq!((later.edges.len(), normalized(&later)), (4, 2));
        // A label that ends where the other goes on has no part in the normalizer there.
        let ended = tree(&[&[9], &[9, 5]], Wanted::Shares);
        assert_eq!((ended.edges.len(), normalized(&ended)), (1, 1));
        assert_eq!(tree(&[&[7, 8, END]], Wanted::Shares).edges, []);
    }

    #[test]
    fn a_large_set_is_several_trees_of_few_nodes() {
        let labels: Vec<Vec<i64>> =
            (0..1000).map(|label| vec![label % 10, label / 10 % 10, label / 100, END]).collect();
        let trees = LabelTrees::of_nodes(200, START, &labels, Wanted::Shares).trees;
        assert!(trees.iter().all(|tree| tree.tokens.len() <= 200));
        // 1,111 nodes in all, and a beginning again where a tree was full.
        assert!(trees.len() <= 7, "{}", trees.len());
        let endless = LabelTrees::of_nodes(4, START, &[vec![5; 9], vec![6; 9]], Wanted::Shares).trees;
        assert_eq!(endless.iter().map(|tree| tree.tokens.len()).collect::<Vec<_>>(), [9, 9]);
    }
}
