//! Trees by what their edges add up to.

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
    let labels: Vec<Vec<i64>> = (0..1000).map(|label| vec![label % 10, label / 10 % 10, label / 100, END]).collect();
    let trees = LabelTrees::of_nodes(200, START, &labels, Wanted::Shares).trees;
    assert!(trees.iter().all(|tree| tree.tokens.len() <= 200));
    // 1,111 nodes in all, and a beginning again where a tree was full.
    assert!(trees.len() <= 7, "{}", trees.len());
    let endless = LabelTrees::of_nodes(4, START, &[vec![5; 9], vec![6; 9]], Wanted::Shares).trees;
    assert_eq!(endless.iter().map(|tree| tree.tokens.len()).collect::<Vec<_>>(), [9, 9]);
}
