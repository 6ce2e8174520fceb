// T5's norm: each row divided by its root mean square and multiplied by a weight, summed in fp32.
#include "shim.h"

namespace {

template <typename Number>
INLINE void norm_row(const Number* row, const Number* weight, Number* out, float* inverse, int64_t width, float epsilon) {
  float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
  for (int64_t at = 0; at < width; ++at) squares += load(row + at) * load(row + at);
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + epsilon);
  *inverse = scale;
#pragma omp simd
  for (int64_t at = 0; at < width; ++at) store(out + at, load(row + at) * scale * load(weight + at));
}

// d out / d row is weight * (1/rms) minus the row's share in its own root mean square.
template <typename Number>
INLINE void norm_row_backward(const Number* gradient, const Number* row, const Number* weight, float inverse,
                              Number* out, float* weight_gradient, int64_t width) {
  float dot = 0.0f;
#pragma omp simd reduction(+ : dot)
  for (int64_t at = 0; at < width; ++at) dot += load(gradient + at) * load(weight + at) * load(row + at);
  const float share = dot * inverse * inverse * inverse / static_cast<float>(width);
#pragma omp simd
  for (int64_t at = 0; at < width; ++at) {
    const float moved = load(gradient + at) * inverse, value = load(row + at);
    weight_gradient[at] += moved * value;
    store(out + at, moved * load(weight + at) - share * value);
  }
}

FOR_EVERY_PROCESSOR void norm_rows(const float* x, const float* w, float* y, float* r, int64_t n, int64_t width, float e) {
  for (int64_t row = 0; row < n; ++row) norm_row(x + row * width, w, y + row * width, r + row, width, e);
}
FOR_EVERY_PROCESSOR void norm_rows(const bf16* x, const bf16* w, bf16* y, float* r, int64_t n, int64_t width, float e) {
  for (int64_t row = 0; row < n; ++row) norm_row(x + row * width, w, y + row * width, r + row, width, e);
}
FOR_EVERY_PROCESSOR void norm_rows_backward(const float* g, const float* x, const float* w, const float* r, float* y,
                                            float* dw, int64_t n, int64_t width) {
  for (int64_t row = 0; row < n; ++row)
    norm_row_backward(g + row * width, x + row * width, w, r[row], y + row * width, dw, width);
}
FOR_EVERY_PROCESSOR void norm_rows_backward(const bf16* g, const bf16* x, const bf16* w, const float* r, bf16* y,
                                            float* dw, int64_t n, int64_t width) {
  for (int64_t row = 0; row < n; ++row)
    norm_row_backward(g + row * width, x + row * width, w, r[row], y + row * width, dw, width);
}

struct RmsNorm : public torch::autograd::Function<RmsNorm> {
  static Tensor forward(AutogradContext* context, const Tensor& given, const Tensor& weight, double epsilon) {
    const Tensor rows = given.contiguous();
    const int64_t width = rows.size(-1), count = rows.numel() / width;
    check_sizes(weight, {width}, "the weight of a norm");
    Tensor out = at::empty_like(rows), inverse = at::empty({count}, rows.options().dtype(at::kFloat));
    by_kind(rows, [&](auto* kind) {
      using Number = std::remove_pointer_t<decltype(kind)>;
      at::parallel_for(0, count, rows_grain(width), [&](int64_t begin, int64_t end) {
        norm_rows(data<Number>(rows) + begin * width, data<Number>(weight), data<Number>(out) + begin * width,
                  data<float>(inverse) + begin, end - begin, width, static_cast<float>(epsilon));
      });
    });
    context->save_for_backward({rows, weight, inverse});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &rows = saved[0], &weight = saved[1], &inverse = saved[2];
    const Tensor gradient = gradients[0].contiguous();
    const int64_t width = rows.size(-1), count = rows.numel() / width;
    Tensor out = at::empty_like(rows), sums = at::zeros({parts(), width}, inverse.options());
    by_kind(rows, [&](auto* kind) {
      using Number = std::remove_pointer_t<decltype(kind)>;
      at::parallel_for(0, count, rows_grain(width), [&](int64_t begin, int64_t end) {
        norm_rows_backward(data<Number>(gradient) + begin * width, data<Number>(rows) + begin * width,
                           data<Number>(weight), data<float>(inverse) + begin, data<Number>(out) + begin * width,
                           data<float>(sums) + at::get_thread_num() * width, end - begin, width);
      });
    });
    return {out, sums.sum(0).to(weight.scalar_type()), Tensor()};
  }
};

}  // namespace

extern "C" char* stepwise_rms_norm(const Tensor* rows, const Tensor* weight, double epsilon, Tensor** out) {
  return guarded([&] { *out = new Tensor(RmsNorm::apply(*rows, *weight, epsilon)); });
}
