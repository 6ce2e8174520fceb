// The inside of a feed-forward layer: an activation, the gate's product and dropout, in one pass; and what is added to a
// residual stream, dropped out on the way.
#include "activated.h"
#include "shim.h"

namespace {

template <Activation kind>
INLINE float slope(float x) {
  if constexpr (kind == Activation::RELU) return x > 0.0f ? 1.0f : 0.0f;
  if constexpr (kind == Activation::GELU) {
    const float t = hyperbolic_tangent(inner_of_gelu(x));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * ROOT_2_OVER_PI * (1.0f + 3.0f * CUBIC * x * x);
  }
  if constexpr (kind == Activation::SILU) {
    const float s = logistic(x);
    return s * (1.0f + x * (1.0f - s));
  }
}

// `b` is null where there is no gate.
template <Activation kind, typename Number>
INLINE void forward(const Number* a, const Number* b, Number* out, int64_t begin, int64_t end, Dropout dropout) {
  if (b) {
#pragma omp simd
    for (int64_t at = begin; at < end; ++at)
      store(out + at, activated<kind>(load(a + at)) * load(b + at) * dropout.factor(static_cast<uint32_t>(at)));
  } else {
#pragma omp simd
    for (int64_t at = begin; at < end; ++at)
      store(out + at, activated<kind>(load(a + at)) * dropout.factor(static_cast<uint32_t>(at)));
  }
}

template <Activation kind, typename Number>
INLINE void backward(const Number* gradient, const Number* a, const Number* b, Number* da, Number* db, int64_t begin,
                     int64_t end, Dropout dropout) {
  if (b) {
#pragma omp simd
    for (int64_t at = begin; at < end; ++at) {
      const float g = load(gradient + at) * dropout.factor(static_cast<uint32_t>(at)), x = load(a + at);
      store(da + at, g * load(b + at) * slope<kind>(x));
      store(db + at, g * activated<kind>(x));
    }
  } else {
#pragma omp simd
    for (int64_t at = begin; at < end; ++at)
      store(da + at, load(gradient + at) * dropout.factor(static_cast<uint32_t>(at)) * slope<kind>(load(a + at)));
  }
}

#define KERNELS(Number)                                                                                              \
  FOR_EVERY_PROCESSOR void forward_of(Activation kind, const Number* a, const Number* b, Number* out, int64_t begin, \
                                      int64_t end, Dropout d) {                                                      \
    if (kind == Activation::RELU) forward<Activation::RELU>(a, b, out, begin, end, d);                               \
    if (kind == Activation::GELU) forward<Activation::GELU>(a, b, out, begin, end, d);                               \
    if (kind == Activation::SILU) forward<Activation::SILU>(a, b, out, begin, end, d);                               \
  }                                                                                                                  \
  FOR_EVERY_PROCESSOR void backward_of(Activation kind, const Number* g, const Number* a, const Number* b,           \
                                       Number* da, Number* db, int64_t begin, int64_t end, Dropout d) {              \
    if (kind == Activation::RELU) backward<Activation::RELU>(g, a, b, da, db, begin, end, d);                        \
    if (kind == Activation::GELU) backward<Activation::GELU>(g, a, b, da, db, begin, end, d);                        \
    if (kind == Activation::SILU) backward<Activation::SILU>(g, a, b, da, db, begin, end, d);                        \
  }                                                                                                                  \
  FOR_EVERY_PROCESSOR void add_dropped_of(const Number* residual, const Number* x, Number* out, int64_t begin,       \
                                          int64_t end, Dropout d) {                                                  \
    _Pragma("omp simd") for (int64_t at = begin; at < end; ++at)                                                     \
        store(out + at, load(residual + at) + load(x + at) * d.factor(static_cast<uint32_t>(at)));                   \
  }                                                                                                                  \
  FOR_EVERY_PROCESSOR void dropped_of(const Number* x, Number* out, int64_t begin, int64_t end, Dropout d) {         \
    _Pragma("omp simd") for (int64_t at = begin; at < end; ++at)                                                     \
        store(out + at, load(x + at) * d.factor(static_cast<uint32_t>(at)));                                         \
  }

KERNELS(float)
KERNELS(bf16)
#undef KERNELS

template <typename Number>
Number* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? data<Number>(tensor) : nullptr;
}

Dropout dropout_of(AutogradContext* context) {
  return Dropout::of(context->saved_data["probability"].toDouble(),
                     static_cast<uint64_t>(context->saved_data["seed"].toInt()));
}

void keep(AutogradContext* context, double probability, int64_t seed) {
  context->saved_data["probability"] = probability;
  context->saved_data["seed"] = seed;
}

struct Activate : public torch::autograd::Function<Activate> {
  static Tensor forward(AutogradContext* context, const Tensor& given, const std::optional<Tensor>& gate, int64_t kind,
                        double probability, int64_t seed) {
    const Tensor a = given.contiguous(), b = gate ? gate->contiguous() : Tensor();
    if (gate) check_sizes(b, a.sizes(), "a gate");
    Tensor out = at::empty_like(a);
    const auto dropout = Dropout::of(probability, static_cast<uint64_t>(seed));
    by_kind(a, [&](auto* type) {
      using Number = std::remove_pointer_t<decltype(type)>;
      at::parallel_for(0, a.numel(), GRAIN, [&](int64_t begin, int64_t end) {
        forward_of(Activation(kind), data<Number>(a), data_or_null<Number>(b), data<Number>(out), begin, end, dropout);
      });
    });
    context->save_for_backward({a, b});
    context->saved_data["kind"] = kind;
    keep(context, probability, seed);
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &a = saved[0], &b = saved[1], gradient = gradients[0].contiguous();
    Tensor da = at::empty_like(a), db = b.defined() ? at::empty_like(b) : Tensor();
    const auto kind = Activation(context->saved_data["kind"].toInt());
    const auto dropout = dropout_of(context);
    by_kind(a, [&](auto* type) {
      using Number = std::remove_pointer_t<decltype(type)>;
      at::parallel_for(0, a.numel(), GRAIN, [&](int64_t begin, int64_t end) {
        backward_of(kind, data<Number>(gradient), data<Number>(a), data_or_null<Number>(b), data<Number>(da),
                    data_or_null<Number>(db), begin, end, dropout);
      });
    });
    return {da, db, Tensor(), Tensor(), Tensor()};
  }
};

// residual + dropout(x); without a residual, dropout(x).
struct AddDropped : public torch::autograd::Function<AddDropped> {
  static Tensor forward(AutogradContext* context, const std::optional<Tensor>& given_residual, const Tensor& given,
                        double probability, int64_t seed) {
    const Tensor x = given.contiguous();
    const Tensor residual = given_residual ? given_residual->contiguous() : Tensor();
    if (given_residual) check_sizes(residual, x.sizes(), "a residual stream");
    Tensor out = at::empty_like(x);
    const auto dropout = Dropout::of(probability, static_cast<uint64_t>(seed));
    by_kind(x, [&](auto* type) {
      using Number = std::remove_pointer_t<decltype(type)>;
      at::parallel_for(0, x.numel(), GRAIN, [&](int64_t begin, int64_t end) {
        if (residual.defined()) {
          add_dropped_of(data<Number>(residual), data<Number>(x), data<Number>(out), begin, end, dropout);
        } else {
          dropped_of(data<Number>(x), data<Number>(out), begin, end, dropout);
        }
      });
    });
    keep(context, probability, seed);
    context->saved_data["adds"] = residual.defined();
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Tensor gradient = gradients[0].contiguous();
    const Tensor residual = context->saved_data["adds"].toBool() ? gradient : Tensor();
    const auto dropout = dropout_of(context);
    if (dropout.threshold == 0) return {residual, gradient, Tensor(), Tensor()};
    Tensor out = at::empty_like(gradient);
    by_kind(gradient, [&](auto* type) {
      using Number = std::remove_pointer_t<decltype(type)>;
      at::parallel_for(0, gradient.numel(), GRAIN, [&](int64_t begin, int64_t end) {
        dropped_of(data<Number>(gradient), data<Number>(out), begin, end, dropout);
      });
    });
    return {residual, out, Tensor(), Tensor()};
  }
};

}  // namespace

extern "C" char* stepwise_activate(const Tensor* a, const Tensor* gate, int64_t kind, double probability, int64_t seed,
                                   Tensor** out) {
  return guarded([&] { *out = new Tensor(Activate::apply(*a, optional(gate), kind, probability, seed)); });
}

extern "C" char* stepwise_add_dropped(const Tensor* residual, const Tensor* x, double probability, int64_t seed,
                                      Tensor** out) {
  return guarded([&] { *out = new Tensor(AddDropped::apply(optional(residual), *x, probability, seed)); });
}
