//! A T5 that only answers, on a processor: its weights prepacked for products whose rows do not depend on each other, so that an answer
//! is the same whoever is answered beside it.

use std::ffi::{c_char, c_void};
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

// SAFETY: the kernels hold no state of a thread; `PrepackedT5` is not `Sync`, so one thread at a time asks it.
unsafe impl Send for PrepackedT5 {}

/// Answers that are gone on from side by side.
pub struct Answers<'t5> {
    t5: &'t5 PrepackedT5,
    rows: NonNull<c_void>,
}

/// Whether a kind of number can be multiplied by the kernels on this processor.
pub fn multiplies(kind: Kind) -> bool {
    // SAFETY: it only reads what the processor says of itself.
    kind == Kind::Float || kind == Kind::BFloat16 && unsafe { stepwise_t5_way() > 0 }
}

impl PrepackedT5 {
    /// What stands before and after the layers: the embedding; the output layer; the final norms of encoder and decoder; the biases by
    /// distance of both (heads, distances) in fp32. Weights are copied into panels, here and below, those of the layers into a `storage`; only the embedding is still looked
    /// at after that, and kept. It computes with one thread until it is told to use more. Panics on what does not fit together, as all
    /// of this do.
    pub fn new(sizes: &Sizes, storage: Storage, ends: &Tensors<6>) -> Self {
        let mut prepacked = std::ptr::null_mut();
        // SAFETY: the tensors live through the call, and there are as many as the kernels read.
        checked(unsafe { stepwise_t5_prepack(sizes, storage as i64, pointers(ends).as_ptr(), &raw mut prepacked) });
        Self(NonNull::new(prepacked).expect("without a message there is a prepacked T5"))
    }

    /// The encoder's next layer: norm, q, k, v, o; norm, both inputs of the feed-forward layer, its output.
    pub fn add_encoder_layer(&mut self, tensors: &Tensors<9>) {
        // SAFETY: as above.
        checked(unsafe { stepwise_t5_add_encoder_layer(self.pointer(), pointers(tensors).as_ptr()) });
    }

    /// The decoder's next layer: norm, q, k, v, o; norm, q, k, v, o of its look at the input; the feed-forward layer as above.
    pub fn add_decoder_layer(&mut self, tensors: &Tensors<14>) {
        // SAFETY: as above.
        checked(unsafe { stepwise_t5_add_decoder_layer(self.pointer(), pointers(tensors).as_ptr()) });
    }

    /// `ids` (rows, length) i64 with their `mask` (rows, length), true for real tokens, which come first -> (rows, length, d_model),
    /// zero where there is no token.
    pub fn encode(&self, ids: &Tensor, mask: &Tensor) -> Tensor {
        // SAFETY: the pointer is ours until we are dropped, and the tensors live through the call, here and below.
        one(|out| unsafe { stepwise_t5_encode(self.pointer(), pointer(ids), pointer(mask), out) })
    }

    /// hidden (rows, d_model) -> scores of the vocabulary (rows, vocabulary), in fp32.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { stepwise_t5_logits(self.pointer(), pointer(hidden), out) })
    }

    /// The likeliest token of each row, of equal ones the first, and its score: hidden (rows, d_model) -> (2, rows) in fp64. `barred`
    /// (rows) i64 are tokens that do not count, -1 where all do. The score is not a number where one of the row's is none. The scores
    /// themselves are never in memory.
    pub fn likeliest(&self, hidden: &Tensor, barred: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { stepwise_t5_likeliest(self.pointer(), pointer(hidden), pointer(barred), out) })
    }

    /// The logarithm of the sum of the exponentials of all scores: hidden (rows, d_model) -> (rows), in fp32. The scores themselves
    /// are never in memory.
    pub fn normalizers(&self, hidden: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { stepwise_t5_normalizers(self.pointer(), pointer(hidden), out) })
    }

    /// The scores of one token for each row: hidden (rows, d_model), `tokens` (rows) i64 -> (rows), in fp32.
    pub fn logits_of(&self, hidden: &Tensor, tokens: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { stepwise_t5_logits_of(self.pointer(), pointer(hidden), pointer(tokens), out) })
    }

    /// Hidden states (nodes, d_model) of tokens that branch. `nodes` (3, nodes) i64 has each one's token, the node before it or -1,
    /// and its input, a row of `encoded` (inputs, length, d_model) and `mask` (inputs, length).
    pub fn pass_tree(&self, encoded: &Tensor, mask: &Tensor, nodes: &Tensor) -> Tensor {
        let (encoded, mask, nodes) = (pointer(encoded), pointer(mask), pointer(nodes));
        // SAFETY: as above.
        one(|out| unsafe { stepwise_t5_pass_tree(self.pointer(), encoded, mask, nodes, out) })
    }

    /// No answers yet.
    pub fn begin(&self) -> Answers<'_> {
        // SAFETY: as above.
        let rows = unsafe { stepwise_answers_begin(self.pointer()) };
        Answers { t5: self, rows: NonNull::new(rows).expect("operator new gives memory or throws") }
    }

    /// Computes with so many threads.
    pub fn use_threads(&self, threads: i32) {
        // SAFETY: as above.
        unsafe { stepwise_t5_use_threads(self.pointer(), threads.into()) }
    }

    fn pointer(&self) -> *mut c_void {
        self.0.as_ptr()
    }
}

impl Drop for PrepackedT5 {
    fn drop(&mut self) {
        // SAFETY: nobody has the pointer any more: answers borrow us.
        unsafe { stepwise_t5_free(self.pointer()) }
    }
}

impl Answers<'_> {
    /// Answers begin behind those that are there, so many for each row of `encoded` (inputs, length, d_model) with its `mask`
    /// (inputs, length). There is room for `expected` tokens of each before more is made.
    pub fn join(&mut self, encoded: &Tensor, mask: &Tensor, rows: i64, expected: i64) {
        let (encoded, mask) = (pointer(encoded), pointer(mask));
        // SAFETY: as above.
        checked(unsafe { stepwise_answers_join(self.t5.pointer(), self.pointer(), encoded, mask, rows, expected) });
    }

    /// The newest token of each answer (rows) i64 -> its hidden state after the final norm (rows, d_model).
    pub fn step(&mut self, tokens: &Tensor) -> Tensor {
        // SAFETY: as above.
        one(|out| unsafe { stepwise_answers_step(self.t5.pointer(), self.pointer(), pointer(tokens), out) })
    }

    /// Each answer goes on from the one at its place in `sources` (rows) i64; one may be followed by several, or by none.
    pub fn follow(&mut self, sources: &Tensor) {
        // SAFETY: as above.
        checked(unsafe { stepwise_answers_follow(self.t5.pointer(), self.pointer(), pointer(sources)) });
    }

    fn pointer(&self) -> *mut c_void {
        self.rows.as_ptr()
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        // SAFETY: nobody else has the pointer.
        unsafe { stepwise_answers_free(self.pointer()) }
    }
}

fn pointers<const COUNT: usize>(tensors: &Tensors<COUNT>) -> [*const c_void; COUNT] {
    tensors.each_ref().map(|tensor| or_null(tensor.as_ref()))
}

unsafe extern "C" {
    fn stepwise_t5_way() -> i64;
    #[cfg(test)]
    fn stepwise_t5_multiply(
        left: *const c_void,
        right: *const c_void,
        storage: i64,
        way: i64,
        threads: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_t5_prepack(
        sizes: *const Sizes,
        storage: i64,
        ends: *const *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_t5_add_encoder_layer(t5: *mut c_void, tensors: *const *const c_void) -> *mut c_char;
    fn stepwise_t5_add_decoder_layer(t5: *mut c_void, tensors: *const *const c_void) -> *mut c_char;
    fn stepwise_t5_free(t5: *mut c_void);
    fn stepwise_t5_use_threads(t5: *mut c_void, threads: i64);
    fn stepwise_t5_encode(
        t5: *mut c_void,
        ids: *const c_void,
        mask: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_t5_logits(t5: *mut c_void, hidden: *const c_void, out: *mut *mut c_void) -> *mut c_char;
    fn stepwise_t5_likeliest(
        t5: *mut c_void,
        hidden: *const c_void,
        barred: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_t5_normalizers(t5: *mut c_void, hidden: *const c_void, out: *mut *mut c_void) -> *mut c_char;
    fn stepwise_t5_logits_of(
        t5: *mut c_void,
        hidden: *const c_void,
        tokens: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_t5_pass_tree(
        t5: *mut c_void,
        encoded: *const c_void,
        mask: *const c_void,
        nodes: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_answers_begin(t5: *const c_void) -> *mut c_void;
    fn stepwise_answers_free(answers: *mut c_void);
    fn stepwise_answers_join(
        t5: *mut c_void,
        answers: *mut c_void,
        encoded: *const c_void,
        mask: *const c_void,
        rows: i64,
        expected: i64,
    ) -> *mut c_char;
    fn stepwise_answers_step(
        t5: *mut c_void,
        answers: *mut c_void,
        tokens: *const c_void,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_answers_follow(t5: *const c_void, answers: *mut c_void, sources: *const c_void) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use tch::kind;

    use super::*;

    /// A T5 without layers, of these ends but for some that are left out.
    fn ends_without(missing: &[usize], storage: Storage) -> PrepackedT5 {
        let (d_model, d_kv, heads, d_ff, vocabulary) = (8, 4, 2, 16, 40);
        let (activation, farthest, epsilon, output_scale) = (0, 3, 1e-6, 1.0);
        let sizes = Sizes { d_model, d_kv, heads, d_ff, vocabulary, activation, farthest, epsilon, output_scale };
        let (weight, norm) = (|| Tensor::ones([40, 8], kind::FLOAT_CPU), || Tensor::ones([8], kind::FLOAT_CPU));
        let bias = |distances: i64| Tensor::zeros([2, distances], kind::FLOAT_CPU);
        let mut ends = [weight(), weight(), norm(), norm(), bias(7), bias(4)].map(Some);
        missing.iter().for_each(|place| ends[*place] = None);
        PrepackedT5::new(&sizes, storage, &ends)
    }

    #[test]
    fn the_output_layer_alone_may_be_missing() {
        let hidden = Tensor::ones([1, 8], kind::FLOAT_CPU);
        assert!(
            ends_without(&[1], Storage::Numbers)
                .logits(&hidden)
                .equal(&ends_without(&[], Storage::Numbers).logits(&hidden))
        );
    }

    #[test]
    #[should_panic(expected = "the weight of a norm is missing: tensor 3")]
    fn a_tensor_that_is_missing_is_named() {
        ends_without(&[3], Storage::Numbers);
    }

    #[test]
    #[should_panic(expected = "levels are multiplied in bf16 alone")]
    fn levels_of_fp32_are_refused() {
        ends_without(&[], Storage::Levels);
    }

    #[test]
    #[should_panic(expected = "a mask is (rows, length) of truths")]
    fn a_mask_of_numbers_is_refused() {
        let ids = Tensor::ones([1, 3], (Kind::Int64, tch::Device::Cpu));
        let _ = ends_without(&[], Storage::Numbers).encode(&ids, &ids);
    }

    /// The product of left (rows, depth) and right (columns, depth) by a way that the processor has.
    fn multiply(left: &Tensor, right: &Tensor, storage: Storage, way: i64, threads: i64) -> Tensor {
        let left = left.contiguous();
        // SAFETY: the tensors live through the call.
        one(|out| unsafe { stepwise_t5_multiply(pointer(&left), pointer(right), storage as i64, way, threads, out) })
    }

    fn best_way() -> i64 {
        // SAFETY: it only reads what the processor says of itself.
        let best = unsafe { stepwise_t5_way() };
        println!("this processor's best way is {best}");
        best
    }

    /// What is multiplied in a storage: levels are whole numbers times the scale of their row of the weight.
    fn kept(weights: &Tensor, storage: Storage) -> Tensor {
        if storage == Storage::Numbers {
            return weights.to_kind(Kind::Double);
        }
        // In fp32 as the kernel does it: what lies in the middle of two levels goes where rounding sends it.
        let weights = weights.to_kind(Kind::Float);
        let most = weights.abs().amax([1_i64].as_slice(), true);
        let steps = Tensor::full_like(&most, 127.0);
        (weights * (&steps / &most)).round().to_kind(Kind::Double) * (most / steps).to_kind(Kind::Double)
    }

    #[test]
    fn every_way_to_multiply_bf16_gives_the_product_and_each_row_the_same_in_any_company() {
        let ways: Vec<(i64, Storage)> =
            (1..=best_way()).flat_map(|way| [(way, Storage::Numbers), (way, Storage::Levels)]).collect();
        for (rows, columns, depth) in [(1, 1, 1), (1, 300, 64), (16, 32, 32), (37, 70, 100), (75, 600, 513)] {
            tch::manual_seed(rows);
            let random = |rows| Tensor::randn([rows, depth], kind::FLOAT_CPU).to_kind(Kind::BFloat16);
            let (left, right) = (random(rows), random(columns));
            for (way, storage) in &ways {
                let plain = left.to_kind(Kind::Double).matmul(&kept(&right, *storage).transpose(0, 1));
                let product = multiply(&left, &right, *storage, *way, 2);
                let off = (&product - &plain).abs().max().double_value(&[]);
                assert!(off < 1e-3, "{storage:?}, way {way}, {rows} x {depth} x {columns} is off by {off}");
                for row in [0, rows / 2, rows - 1] {
                    let alone = multiply(&left.narrow(0, row, 1), &right, *storage, *way, 1);
                    assert!(alone.equal(&product.narrow(0, row, 1)), "{storage:?}, way {way}, row {row} of {rows}");
                }
            }
        }
    }

    #[test]
    fn levels_are_no_farther_from_a_weight_than_half_a_step() {
        if best_way() == 0 {
            println!("SKIPPED: this processor has no instructions for bf16");
            return;
        }
        tch::manual_seed(3);
        let right = Tensor::randn([70, 100], kind::FLOAT_CPU).to_kind(Kind::BFloat16);
        let left = Tensor::eye(100, (Kind::BFloat16, tch::Device::Cpu));
        let found = multiply(&left, &right, Storage::Levels, 1, 1);
        let weights = kept(&right, Storage::Numbers).transpose(0, 1);
        let steps = weights.abs().amax([0_i64].as_slice(), true) / 127.0;
        let off = ((found - weights).abs() / steps).max().double_value(&[]);
        assert!(off > 0.4 && off < 0.5 + 1e-4, "the farthest is {off} steps away");
    }
}
