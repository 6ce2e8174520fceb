//! The decoder one token at a time.

use tch::Tensor;

use super::T5;
use super::batch::size;
use super::grid_decoding::GridDecoding;
use crate::native::t5::Answers;

/// Tokens that there is room for from the start, at most. Room is made of zeros, which takes time and memory for each row; what says
/// more than this has made up for that by then, and gets twice as much.
const MOST_EXPECTED: usize = 128;

/// The state of a batch that is being decoded: one row an input, or as many side by side. Rows may begin while others go on. Runs
/// under `no_grad`.
pub(super) enum Decoding<'model> {
    /// On any device.
    Grid(Box<GridDecoding<'model>>),
    /// By a prepacked T5.
    Prepacked(Answers<'model>),
}

impl<'model> Decoding<'model> {
    /// `encoded` (inputs, keys, d_model) with its `mask` (inputs, keys); `rows` rows of every input. A row is
    /// expected to say `expected` tokens: there is room for them, if they are not too many.
    pub fn new(model: &'model T5, encoded: &Tensor, mask: &Tensor, expected: usize, rows: i64) -> Self {
        let expected = room_for(expected);
        let Some(prepacked) = &model.prepacked else {
            return Self::Grid(Box::new(GridDecoding::new(model, encoded, mask, expected, rows)));
        };
        let mut answers = prepacked.begin();
        answers.join(encoded, mask, rows, expected);
        Self::Prepacked(answers)
    }

    /// Rows of further inputs, one each, begin behind those that are there, to say as much as they are `expected` to.
    pub fn join(&mut self, encoded: &Tensor, mask: &Tensor, expected: usize) {
        let expected = room_for(expected);
        match self {
            Self::Grid(grid) => grid.join(encoded, mask, expected),
            Self::Prepacked(answers) => answers.join(encoded, mask, 1, expected),
        }
    }

    /// The newest token of each row (rows) -> its hidden state after the final norm (rows, d_model).
    pub fn step(&mut self, tokens: &Tensor) -> Tensor {
        match self {
            Self::Grid(grid) => grid.step(tokens),
            Self::Prepacked(answers) => answers.step(tokens),
        }
    }

    /// Whether rows leave without a copy of those that stay.
    pub fn leaving_is_free(&self) -> bool {
        matches!(self, Self::Prepacked(_))
    }

    /// Goes on with only these inputs, an ascending list of places. Their rows are chosen by `follow`.
    pub fn keep_inputs(&mut self, inputs: &[i64]) {
        match self {
            Self::Grid(grid) => grid.keep_inputs(inputs),
            // An input stays as long as an answer to it goes on.
            Self::Prepacked(_) => {}
        }
    }

    /// Each row goes on from what the row at its place in `sources` has said; a row may be followed by several, or by none.
    pub fn follow(&mut self, sources: &[i64]) {
        match self {
            Self::Grid(grid) => grid.follow(sources),
            Self::Prepacked(answers) => answers.follow(&Tensor::from_slice(sources)),
        }
    }
}

fn room_for(expected: usize) -> i64 {
    size(expected.clamp(1, MOST_EXPECTED))
}
