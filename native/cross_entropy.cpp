// The output layer and its cross-entropy in one: logits are made some rows at a time, turned into their own gradient in place
// and dropped, so that a batch's logits, the largest tensor of a step, never lie in memory whole or in fp32.
#include <limits>

#include "shim.h"

namespace {

// Logits held at once.
constexpr int64_t MOST_LOGITS = int64_t{1} << 25;

// A row's loss; the row becomes weight * (its softmax - the target's one).
template <typename Number>
INLINE float row_loss(Number* row, int64_t width, int64_t target, float weight) {
  float most = -std::numeric_limits<float>::infinity(), sum = 0.0f;
#pragma omp simd reduction(max : most)
  for (int64_t at = 0; at < width; ++at) most = load(row + at) > most ? load(row + at) : most;
#pragma omp simd reduction(+ : sum)
  for (int64_t at = 0; at < width; ++at) sum += exponential(load(row + at) - most);
  const float loss = most + std::log(sum) - load(row + target), scale = weight / sum;
  const float share = exponential(load(row + target) - most) * scale;
#pragma omp simd
  for (int64_t at = 0; at < width; ++at) store(row + at, exponential(load(row + at) - most) * scale);
  store(row + target, share - weight);
  return loss;
}

#define KERNEL(Number)                                                                                                 \
  FOR_EVERY_PROCESSOR void losses_of(Number* logits, int64_t width, const int64_t* targets, const float* weights,     \
                                     float* losses, int64_t begin, int64_t end) {                                     \
    for (int64_t row = begin; row < end; ++row)                                                                       \
      losses[row] = row_loss(logits + row * width, width, targets[row], weights[row]);                                \
  }

KERNEL(float)
KERNEL(bf16)
#undef KERNEL

struct LinearCrossEntropy : public torch::autograd::Function<LinearCrossEntropy> {
  // `hidden` (rows, width), `output` (vocabulary, width), `targets` (rows) i64, `weights` (rows) fp32. Gives the weighted sum
  // of the rows' losses, and the losses, through which no gradient goes.
  static variable_list forward(AutogradContext* context, const Tensor& given, const Tensor& output, const Tensor& targets,
                               const Tensor& weights) {
    const Tensor hidden = given.contiguous();
    const int64_t rows = hidden.size(0), vocabulary = output.size(0);
    check_sizes(targets, {rows}, "the targets");
    check_sizes(weights, {rows}, "the rows' weights");
    TORCH_CHECK(rows == 0 || (targets.min().item<int64_t>() >= 0 && targets.max().item<int64_t>() < vocabulary),
                "a target is outside the vocabulary of ", vocabulary);
    const int64_t at_once = std::max<int64_t>(1, MOST_LOGITS / vocabulary);
    Tensor losses = at::empty({rows}, weights.options()), d_hidden = at::empty_like(hidden), d_output;
    for (int64_t first = 0; first < rows; first += at_once) {
      const int64_t count = std::min(at_once, rows - first);
      const Tensor part = hidden.narrow(0, first, count), logits = at::linear(part, output).contiguous();
      by_kind(logits, [&](auto* kind) {
        using Number = std::remove_pointer_t<decltype(kind)>;
        at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
          losses_of(data<Number>(logits), vocabulary, data<int64_t>(targets) + first, data<float>(weights) + first,
                    data<float>(losses) + first, begin, end);
        });
      });
      Tensor part_gradient = d_hidden.narrow(0, first, count);
      at::mm_out(part_gradient, logits, output);
      const Tensor moved = at::mm(logits.t(), part);
      // Sums over parts are fp32, whatever a part is in.
      if (count == rows) {
        d_output = moved;
      } else if (first == 0) {
        d_output = moved.to(at::kFloat);
      } else {
        d_output.add_(moved);
      }
    }
    const Tensor total = at::dot(losses, weights);
    context->save_for_backward({d_hidden, d_output.to(output.scalar_type())});
    context->mark_non_differentiable({losses});
    return {total, losses};
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const float factor = gradients[0].item<float>();
    const auto scaled = [&](const Tensor& tensor) { return factor == 1.0f ? tensor : tensor * factor; };
    return {scaled(saved[0]), scaled(saved[1]), Tensor(), Tensor()};
  }
};

}  // namespace

extern "C" char* stepwise_linear_cross_entropy(const Tensor* hidden, const Tensor* output, const Tensor* targets,
                                               const Tensor* weights, Tensor** total, Tensor** losses) {
  return guarded([&] {
    const auto found = LinearCrossEntropy::apply(*hidden, *output, *targets, *weights);
    *total = new Tensor(found[0]);
    *losses = new Tensor(found[1]);
  });
}
