//! A T5 that only answers, on a processor: its weights prepacked for products whose rows do not depend on each other, so that an answer
//! is the same whoever is answered beside it. Knows no configuration, no tokenizer and no tensor's name.

mod kernels;

use std::ffi::c_void;
use std::ptr::NonNull;

use tch::{Kind, Tensor};

use super::{checked, one, or_null, pointer};

/// The sizes of a T5. The order is the kernels'.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Sizes {
    /// Width of the residual stream.
    pub d_model: i64,
    /// Width of a head.
    pub d_kv: i64,
    /// Heads.
    pub heads: i64,
    /// Width of the feed-forward layer.
    pub d_ff: i64,
    /// Rows of the embedding.
    pub vocabulary: i64,
    /// How feed-forward layers activate, as in [`Activation`](super::Activation).
    pub activation: i64,
    /// Distances from which on all have one bias.
    pub farthest: i64,
    /// Added to the mean square before its root is taken.
    pub epsilon: f32,
    /// What hidden states are multiplied by before the output layer.
    pub output_scale: f32,
}

/// Tensors of a T5 in the kernels' order: contiguous, of one kind, on the processor. None stands for the output layer that is the
/// embedding, and for the gate that a feed-forward layer has not.
pub type Tensors<const COUNT: usize> = [Option<Tensor>; COUNT];

/// How weights are kept. The order is the kernels'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Storage {
    /// In the kind of the tensors.
    Numbers,
    /// In eight bits, with a scale for each column: half of the memory of bf16, in which they are multiplied.
    Levels,
}

/// A prepacked T5. It takes and gives tensors of the kind that it was prepacked from.
pub struct PrepackedT5(NonNull<c_void>);

// SAFETY: nothing of a T5 is bound to a thread; `PrepackedT5` is not `Sync`, so one thread at a time asks it.
unsafe impl Send for PrepackedT5 {}

/// Answers that are gone on from side by side.
pub struct Answers<'t5> {
    t5: &'t5 PrepackedT5,
    rows: NonNull<c_void>,
}

/// Whether a kind of number can be multiplied by the kernels on this processor.
pub fn multiplies(kind: Kind) -> bool {
    // SAFETY: it only reads what the processor says of itself.
    kind == Kind::Float || kind == Kind::BFloat16 && unsafe { kernels::stepwise_t5_way() > 0 }
}

impl PrepackedT5 {
    /// What stands before and after the layers: the embedding; the output layer; the final norms of encoder and decoder; the biases by
    /// distance of both (heads, distances) in fp32. Weights are copied into panels, here and below; `storage` is that of the layers'. Only
    /// the embedding is still looked at after that, and kept. It computes with one thread until it is told to use more. Panics on what does not fit together, as all
    /// of this do.
    pub fn new(sizes: &Sizes, storage: Storage, ends: &Tensors<6>) -> Self {
        let mut prepacked = std::ptr::null_mut();
        // SAFETY: the tensors live through the call, and there are as many as the kernels read.
        checked(unsafe {
            kernels::stepwise_t5_prepack(sizes, storage as i64, pointers(ends).as_ptr(), &raw mut prepacked)
        });
        Self(NonNull::new(prepacked).expect("without a message there is a prepacked T5"))
    }

    /// The encoder's next layer: norm, q, k, v, o; norm, both inputs of the feed-forward layer, its output.
    pub fn add_encoder_layer(&mut self, tensors: &Tensors<9>) {
        // SAFETY: as above.
        checked(unsafe { kernels::stepwise_t5_add_encoder_layer(self.pointer(), pointers(tensors).as_ptr()) });
    }

    /// The decoder's next layer: norm, q, k, v, o; norm, q, k, v, o of its look at the input; the feed-forward layer as above.
    pub fn add_decoder_layer(&mut self, tensors: &Tensors<14>) {
        // SAFETY: as above.
        checked(unsafe { kernels::stepwise_t5_add_decoder_layer(self.pointer(), pointers(tensors).as_ptr()) });
    }

    /// `ids` (rows, length) i64 with their `mask` (rows, length), true for real tokens, which come first -> (rows, length, d_model),
    /// zero where there is no token.
    pub fn encode(&self, ids: &Tensor, mask: &Tensor) -> Tensor {
        // SAFETY: the pointer is ours until we are dropped, and the tensors live through the call, here and below.
        one(|out| unsafe { kernels::stepwise_t5_encode(self.pointer(), pointer(ids), pointer(mask), out) })
    }

    /// hidden (rows, d_model) -> scores of the vocabulary (rows, vocabulary), in fp32.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { kernels::stepwise_t5_logits(self.pointer(), pointer(hidden), out) })
    }

    /// The likeliest token of each row, of equal ones the first, and its score: hidden (rows, d_model) -> (2, rows) in fp64. `barred`
    /// (rows) i64 are tokens that do not count, -1 where all do. The score is not a number where one of the row's is none. The scores
    /// themselves are never in memory.
    pub fn likeliest(&self, hidden: &Tensor, barred: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { kernels::stepwise_t5_likeliest(self.pointer(), pointer(hidden), pointer(barred), out) })
    }

    /// The logarithm of the sum of the exponentials of all scores: hidden (rows, d_model) -> (rows), in fp32. The scores themselves
    /// are never in memory.
    pub fn normalizers(&self, hidden: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { kernels::stepwise_t5_normalizers(self.pointer(), pointer(hidden), out) })
    }

    /// The scores of one token for each row: hidden (rows, d_model), `tokens` (rows) i64 -> (rows), in fp32.
    pub fn logits_of(&self, hidden: &Tensor, tokens: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { kernels::stepwise_t5_logits_of(self.pointer(), pointer(hidden), pointer(tokens), out) })
    }

    /// Hidden states (nodes, d_model) of tokens that branch. `nodes` (3, nodes) i64 has each one's token, the node before it or -1,
    /// and its input, a row of `encoded` (inputs, length, d_model) and `mask` (inputs, length).
    pub fn pass_tree(&self, encoded: &Tensor, mask: &Tensor, nodes: &Tensor) -> Tensor {
        let (encoded, mask, nodes) = (pointer(encoded), pointer(mask), pointer(nodes));
        // SAFETY: as above.
        one(|out| unsafe { kernels::stepwise_t5_pass_tree(self.pointer(), encoded, mask, nodes, out) })
    }

    /// No answers yet.
    pub fn begin(&self) -> Answers<'_> {
        let mut rows = std::ptr::null_mut();
        // SAFETY: as above.
        checked(unsafe { kernels::stepwise_answers_begin(self.pointer(), &raw mut rows) });
        Answers { t5: self, rows: NonNull::new(rows).expect("without a message there are answers") }
    }

    /// Computes with so many threads.
    pub fn use_threads(&self, threads: i32) {
        // SAFETY: as above.
        unsafe { kernels::stepwise_t5_use_threads(self.pointer(), threads.into()) }
    }

    fn pointer(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

impl Drop for PrepackedT5 {
    fn drop(&mut self) {
        // SAFETY: nobody has the pointer any more: answers borrow us.
        unsafe { kernels::stepwise_t5_free(self.pointer()) }
    }
}

impl Answers<'_> {
    /// Answers begin behind those that are there, so many for each row of `encoded` (inputs, length, d_model) with its `mask`
    /// (inputs, length). There is room for `expected` tokens of each before more is made.
    pub fn join(&mut self, encoded: &Tensor, mask: &Tensor, rows: i64, expected: i64) {
        let (encoded, mask) = (pointer(encoded), pointer(mask));
        // SAFETY: as above.
        checked(unsafe {
            kernels::stepwise_answers_join(self.t5.pointer(), self.pointer(), encoded, mask, rows, expected)
        });
    }

    /// The newest token of each answer (rows) i64 -> its hidden state after the final norm (rows, d_model).
    pub fn step(&mut self, tokens: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { kernels::stepwise_answers_step(self.t5.pointer(), self.pointer(), pointer(tokens), out) })
    }

    /// Each answer goes on from the one at its place in `sources` (rows) i64; one may be followed by several, or by none.
    pub fn follow(&mut self, sources: &Tensor) {
        // SAFETY: as above.
        checked(unsafe { kernels::stepwise_answers_follow(self.t5.pointer(), self.pointer(), pointer(sources)) });
    }

    /// Where an answer that has said something keeps it.
    #[cfg(test)]
    pub fn place(&self, row: i64) -> usize {
        // SAFETY: as above.
        unsafe { kernels::stepwise_answers_place(self.t5.pointer(), self.pointer(), row) as usize }
    }

    fn pointer(&self) -> *mut c_void {
        self.rows.as_ptr()
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        // SAFETY: nobody else has the pointer.
        unsafe { kernels::stepwise_answers_free(self.pointer()) }
    }
}

fn pointers<const COUNT: usize>(tensors: &Tensors<COUNT>) -> [*const c_void; COUNT] {
    tensors.each_ref().map(|tensor| or_null(tensor.as_ref()))
}

/// What is left of a weight in a storage: levels are whole numbers times the scale of their row. In fp32, as the kernel does it: what
/// lies in the middle of two levels goes where rounding sends it.
#[cfg(test)]
pub fn in_storage(weight: &Tensor, storage: Storage) -> Tensor {
    let weight = weight.to_kind(Kind::Float);
    if storage == Storage::Numbers {
        return weight;
    }
    let most = weight.abs().amax([1_i64].as_slice(), true);
    let steps = Tensor::full_like(&most, 127.0);
    (weight * (&steps / &most)).round() * (most / steps)
}

#[cfg(test)]
mod tests;
