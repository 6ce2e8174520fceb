//! The kernels of `native/`: what a training step does besides its large products, in one pass over memory each, forwards and
//! backwards. For fp32 and bf16 on a processor; [`serves`] says for which tensors, and whoever calls has another way for the
//! others. Knows no loss and no optimizer's policy; of layers only `t5` knows, which answers with a whole student.
//!
//! Each call may be recorded for a gradient as libtorch's own are. Like those it panics on what does not fit together: every
//! kernel checks sizes and kinds before it touches memory.

pub mod t5;

use std::ffi::{CStr, c_char, c_void};

use tch::{Device, Kind, Tensor};

/// Whether the kernels can take a tensor.
pub fn serves(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && matches!(tensor.kind(), Kind::Float | Kind::BFloat16)
}

/// What a feed-forward layer does between its projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// GELU by its tanh approximation.
    Gelu,
    /// `x * sigmoid(x)`
    Silu,
}

/// Which numbers are dropped: each is with this probability, by a hash of its place and the seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropping {
    /// In [0, 1); 0 drops nothing.
    pub probability: f64,
    /// Two equal calls with equal seeds drop the same numbers.
    pub seed: u64,
}

/// Rows (.., width) over their root mean squares, times `weight` (width).
pub fn rms_norm(rows: &Tensor, weight: &Tensor, epsilon: f64) -> Tensor {
    // SAFETY: the tensors live through the call; a null message means that `out` was given a tensor of ours.
    one(|out| unsafe { stepwise_rms_norm(pointer(rows), pointer(weight), epsilon, out) })
}

/// `dropout(activation(x) * gate)`; without a gate, `dropout(activation(x))`. Both of one shape.
pub fn activate(x: &Tensor, gate: Option<&Tensor>, activation: Activation, dropping: Dropping) -> Tensor {
    let Dropping { probability, seed } = dropping;
    // SAFETY: as above; a null gate is none.
    one(|out| unsafe {
        stepwise_activate(pointer(x), or_null(gate), activation as i64, probability, seed.cast_signed(), out)
    })
}

/// `residual + dropout(x)`; without a residual, `dropout(x)`. Both of one shape.
pub fn add_dropped(residual: Option<&Tensor>, x: &Tensor, dropping: Dropping) -> Tensor {
    let Dropping { probability, seed } = dropping;
    // SAFETY: as above; a null residual is none.
    one(|out| unsafe { stepwise_add_dropped(or_null(residual), pointer(x), probability, seed.cast_signed(), out) })
}

/// Which queries see which keys. Sequences lie end to end; `query_starts` and `key_starts` (sequences + 1) i64 say where each
/// begins, and the last numbers where all end.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// Where each sequence's queries begin.
    pub query_starts: &'a Tensor,
    /// Where the keys begin that they see.
    pub key_starts: &'a Tensor,
    /// Added to the scores: fp32 (heads, distances), and the column of distance 0; a key after its query lies to the right.
    pub bias: Option<(&'a Tensor, i64)>,
    /// Whether keys after a query are hidden from it.
    pub hides_future: bool,
}

/// Attention without division by sqrt(width): `queries` (tokens, heads * width), `keys` and `values` (seen tokens, heads *
/// width) -> like `queries`. Shares of keys are dropped out.
pub fn attend(
    (queries, keys, values): (&Tensor, &Tensor, &Tensor),
    heads: i64,
    sight: Sight<'_>,
    dropping: Dropping,
) -> Tensor {
    let Dropping { probability, seed } = dropping;
    let (bias, zero) = sight.bias.map_or((None, 0), |(bias, zero)| (Some(bias), zero));
    // SAFETY: as above; a null bias is none.
    one(|out| unsafe {
        stepwise_attend(
            pointer(queries),
            pointer(keys),
            pointer(values),
            or_null(bias),
            pointer(sight.query_starts),
            pointer(sight.key_starts),
            heads,
            zero,
            sight.hides_future,
            probability,
            seed.cast_signed(),
            out,
        )
    })
}

/// The output layer and its cross-entropy: `hidden` (rows, width), `output` (vocabulary, width), `targets` (rows) i64 and
/// `weights` (rows) fp32 give the weighted sum of the rows' losses, a scalar, and the losses (rows) fp32, through which no
/// gradient goes. The gradient is computed at once, whether it is wanted or not.
pub fn linear_cross_entropy(hidden: &Tensor, output: &Tensor, targets: &Tensor, weights: &Tensor) -> (Tensor, Tensor) {
    let mut losses = std::ptr::null_mut();
    // SAFETY: as above, for two tensors.
    let total = one(|total| unsafe {
        let (hidden, output) = (pointer(hidden), pointer(output));
        stepwise_linear_cross_entropy(hidden, output, pointer(targets), pointer(weights), total, &raw mut losses)
    });
    // SAFETY: the call succeeded, or `one` would have panicked.
    (total, unsafe { Tensor::from_ptr(losses.cast()) })
}

/// The numbers of AdamW's formula at one step. The order is the kernel's.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Adamw {
    /// Learning rate.
    pub rate: f32,
    /// Decay of the mean gradient.
    pub first_decay: f32,
    /// Decay of the mean squared gradient.
    pub second_decay: f32,
    /// Added to the divisor.
    pub epsilon: f32,
    /// What the weight is multiplied by first: `1 - rate * weight_decay`.
    pub keep: f32,
    /// `1 / (1 - first_decay^step)`
    pub first_correction: f32,
    /// `1 / sqrt(1 - second_decay^step)`
    pub second_root: f32,
    /// What the gradient is multiplied by first.
    pub gradient_scale: f32,
}

/// One weight's tensors, contiguous and of one size.
pub struct AdamwTensors<'a> {
    /// fp32; changed.
    pub weight: &'a Tensor,
    /// fp32 or bf16.
    pub gradient: &'a Tensor,
    /// fp32; changed.
    pub mean: &'a Tensor,
    /// fp32; changed.
    pub square: &'a Tensor,
    /// bf16; becomes the weight's rounded value.
    pub copy: Option<&'a Tensor>,
}

/// Takes one step of AdamW.
pub fn adamw(tensors: &AdamwTensors<'_>, step: &Adamw) {
    let AdamwTensors { weight, gradient, mean, square, copy } = tensors;
    let (weight, gradient, mean, square) = (pointer(weight), pointer(gradient), pointer(mean), pointer(square));
    // SAFETY: as above; the step's eight numbers lie side by side. That tensors change through shared handles is what tch's
    // own in-place functions do.
    checked(unsafe { stepwise_adamw(weight, gradient, mean, square, or_null(*copy), step) });
}

/// The sum of a tensor's squares; the same on any number of threads.
pub fn sum_of_squares(tensor: &Tensor) -> f64 {
    let mut sum = 0.0;
    // SAFETY: as above.
    checked(unsafe { stepwise_sum_of_squares(pointer(tensor), &raw mut sum) });
    sum
}

/// Adds a tensor of fp32 or bf16 to a contiguous one of fp32 with as many numbers.
pub fn accumulate(to: &Tensor, from: &Tensor) {
    // SAFETY: as above.
    checked(unsafe { stepwise_accumulate(pointer(to), pointer(from)) });
}

fn pointer(tensor: &Tensor) -> *const c_void {
    tensor.as_ptr().cast()
}

fn or_null(tensor: Option<&Tensor>) -> *const c_void {
    tensor.map_or(std::ptr::null(), pointer)
}

/// The tensor that a kernel makes.
fn one(call: impl FnOnce(*mut *mut c_void) -> *mut c_char) -> Tensor {
    let mut out = std::ptr::null_mut();
    checked(call(&raw mut out));
    // SAFETY: without a message, the kernel made a tensor that is ours now.
    unsafe { Tensor::from_ptr(out.cast()) }
}

/// Panics with a kernel's message, as tch's own functions do.
fn checked(message: *mut c_char) {
    if message.is_null() {
        return;
    }
    // SAFETY: a message is a C string that `strdup` made for us.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        libc::free(message.cast());
        text
    };
    panic!("{text}");
}

unsafe extern "C" {
    fn stepwise_rms_norm(
        rows: *const c_void,
        weight: *const c_void,
        epsilon: f64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_activate(
        x: *const c_void,
        gate: *const c_void,
        activation: i64,
        probability: f64,
        seed: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_add_dropped(
        residual: *const c_void,
        x: *const c_void,
        probability: f64,
        seed: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_attend(
        queries: *const c_void,
        keys: *const c_void,
        values: *const c_void,
        bias: *const c_void,
        query_starts: *const c_void,
        key_starts: *const c_void,
        heads: i64,
        zero: i64,
        hides_future: bool,
        probability: f64,
        seed: i64,
        out: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_linear_cross_entropy(
        hidden: *const c_void,
        output: *const c_void,
        targets: *const c_void,
        weights: *const c_void,
        total: *mut *mut c_void,
        losses: *mut *mut c_void,
    ) -> *mut c_char;
    fn stepwise_adamw(
        weight: *const c_void,
        gradient: *const c_void,
        mean: *const c_void,
        square: *const c_void,
        copy: *const c_void,
        step: *const Adamw,
    ) -> *mut c_char;
    fn stepwise_sum_of_squares(tensor: *const c_void, sum: *mut f64) -> *mut c_char;
    fn stepwise_accumulate(to: *const c_void, from: *const c_void) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use tch::{Reduction, kind};

    use super::*;

    const WHOLE: Dropping = Dropping { probability: 0.0, seed: 0 };
    const SHAPE: [i64; 2] = [37, 301];

    fn random<const N: usize>(shape: [i64; N], seed: i64) -> Tensor {
        tch::manual_seed(seed);
        (Tensor::randn(shape.as_slice(), kind::FLOAT_CPU) * 2.0).set_requires_grad(true)
    }

    /// The values of a function and its gradients at `inputs` agree with another's.
    fn assert_same(what: &str, inputs: &[&Tensor], ours: impl FnOnce() -> Tensor, plain: impl FnOnce() -> Tensor) {
        let (ours, plain) = (ours(), plain());
        tch::manual_seed(99);
        let weights = Tensor::randn_like(&plain);
        let gradients = |of: &Tensor| Tensor::run_backward(&[(of * &weights).sum(Kind::Float)], inputs, true, false);
        let pairs =
            gradients(&ours).into_iter().zip(gradients(&plain)).chain([(ours.shallow_clone(), plain.shallow_clone())]);
        for (number, (one, other)) in pairs.enumerate() {
            let off = (&one - &other).abs().max().double_value(&[]) / other.abs().max().double_value(&[]).max(1e-3);
            assert!(off < 1e-5, "{what}: {number} is off by {off}");
        }
    }

    #[test]
    fn a_norm_is_the_plain_norm() {
        let (rows, weight) = (random(SHAPE, 1), random([301], 2));
        let plain = || {
            let mean = rows.square().mean_dim(-1, true, Kind::Float);
            &rows * (mean + 1e-6_f64).rsqrt() * &weight
        };
        assert_same("norm", &[&rows, &weight], || rms_norm(&rows, &weight, 1e-6), plain);
    }

    #[test]
    fn activations_are_the_plain_activations() {
        let (x, gate) = (random(SHAPE, 3), random(SHAPE, 4));
        for activation in [Activation::Relu, Activation::Gelu, Activation::Silu] {
            let plain = || match activation {
                Activation::Relu => x.relu(),
                Activation::Gelu => x.gelu("tanh"),
                Activation::Silu => x.silu(),
            };
            let what = format!("{activation:?}");
            assert_same(&what, &[&x], || activate(&x, None, activation, WHOLE), plain);
            assert_same(&what, &[&x, &gate], || activate(&x, Some(&gate), activation, WHOLE), || plain() * &gate);
        }
    }

    #[test]
    fn what_is_dropped_forwards_is_dropped_backwards() {
        let (x, residual) = (random(SHAPE, 5), random(SHAPE, 6));
        let dropping = Dropping { probability: 0.3, seed: 11 };
        let mask = add_dropped(None, &Tensor::ones(SHAPE, kind::FLOAT_CPU), dropping);
        assert_same("dropout", &[&x], || add_dropped(None, &x, dropping), || &x * &mask);
        let added = || add_dropped(Some(&residual), &x, dropping);
        assert_same("residual", &[&x, &residual], added, || &residual + &x * &mask);
        let fed = || activate(&x, None, Activation::Silu, dropping);
        assert_same("activation", &[&x], fed, || x.silu() * &mask);
    }

    #[test]
    fn cross_entropy_in_parts_is_that_of_the_whole() {
        // More logits than are held at once.
        let (hidden, output) = (random([600, 8], 7), random([60_000, 8], 8));
        let targets = Tensor::randint(60_000, [600], kind::INT64_CPU);
        let weights = Tensor::rand([600], kind::FLOAT_CPU);
        let plain = || {
            let logits = hidden.linear(&output, None::<Tensor>);
            logits.cross_entropy_loss(&targets, None::<Tensor>, Reduction::None, -100, 0.0).dot(&weights)
        };
        let ours = || linear_cross_entropy(&hidden, &output, &targets, &weights).0;
        assert_same("cross-entropy", &[&hidden, &output], ours, plain);
    }

    #[test]
    fn bf16_is_rounded_once() {
        let rows = random(SHAPE, 9).detach();
        let weight = random([301], 10).detach().to_kind(Kind::BFloat16);
        let narrow = rows.to_kind(Kind::BFloat16);
        let wide = rms_norm(&narrow.to_kind(Kind::Float), &weight.to_kind(Kind::Float), 1e-6);
        assert!(rms_norm(&narrow, &weight, 1e-6).equal(&wide.to_kind(Kind::BFloat16)));
        let not_a_number = Tensor::full([16], f64::NAN, (Kind::BFloat16, Device::Cpu));
        let activated = activate(&not_a_number, None, Activation::Gelu, WHOLE);
        assert_eq!(activated.isnan().sum(Kind::Int64).int64_value(&[]), 16);
    }

    #[test]
    fn sums_are_sums() {
        let (to, from) = (random([70_001], 12).detach(), random([70_001], 13).detach());
        let wanted = (&to + from.to_kind(Kind::BFloat16).to_kind(Kind::Float)).copy();
        accumulate(&to, &from.to_kind(Kind::BFloat16));
        assert!(to.equal(&wanted));
        let squares = from.to_kind(Kind::Double).square().sum(Kind::Double).double_value(&[]);
        assert!((sum_of_squares(&from) / squares - 1.0).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "fp32 and bf16")]
    fn another_kind_of_number_is_refused() {
        let _ = rms_norm(&Tensor::ones([2, 3], (Kind::Double, Device::Cpu)), &Tensor::ones([3], kind::FLOAT_CPU), 1e-6);
    }

    /// Whether a kernel refuses what it is given.
    fn refuses<T>(call: impl FnOnce() -> T + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(call).is_err()
    }

    #[test]
    fn what_does_not_fit_together_is_refused_before_memory_is_touched() {
        let numbers = |sizes: &[i64]| Tensor::zeros(sizes, kind::FLOAT_CPU);
        let nothing = Dropping { probability: 0.0, seed: 0 };
        assert!(refuses(|| rms_norm(&numbers(&[2, 8]), &numbers(&[7]), 1e-6)));
        assert!(refuses(|| rms_norm(&numbers(&[2, 8]), &numbers(&[8]).to_kind(Kind::BFloat16), 1e-6)));
        assert!(refuses(|| activate(&numbers(&[2, 8]), Some(&numbers(&[2, 4])), Activation::Relu, nothing)));
        assert!(refuses(|| add_dropped(Some(&numbers(&[8])), &numbers(&[2, 8]), nothing)));
        assert!(refuses(|| accumulate(&numbers(&[3]), &numbers(&[4]))));
        let targets = Tensor::from_slice(&[1_i64, 9]);
        assert!(refuses(|| linear_cross_entropy(&numbers(&[2, 4]), &numbers(&[9, 4]), &targets, &numbers(&[2]))));
        let attended = |starts: &[i64], distances: i64| {
            let (rows, starts, bias) = (numbers(&[3, 8]), Tensor::from_slice(starts), numbers(&[2, distances]));
            let sight =
                Sight { query_starts: &starts, key_starts: &starts, bias: Some((&bias, 2)), hides_future: false };
            refuses(|| attend((&rows, &rows, &rows), 2, sight, nothing))
        };
        assert_eq!([attended(&[0, 3], 5), attended(&[0, 4], 7), attended(&[0, 3], 4)], [false, true, true]);
        let short = AdamwTensors {
            weight: &numbers(&[4]),
            gradient: &numbers(&[4]),
            mean: &numbers(&[3]),
            square: &numbers(&[4]),
            copy: None,
        };
        let step = Adamw {
            rate: 0.0,
            first_decay: 0.0,
            second_decay: 0.0,
            epsilon: 0.0,
            keep: 0.0,
            first_correction: 0.0,
            second_root: 0.0,
            gradient_scale: 0.0,
        };
        assert!(refuses(std::panic::AssertUnwindSafe(|| adamw(&short, &step))));
    }
}
