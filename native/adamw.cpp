// What an optimizer does to all weights, in one pass over memory each: AdamW with the bf16 copies that the next step computes
// with, the norm of a gradient, and the sum of gradients in fp32.
#include <vector>

#include "shim.h"

namespace {

struct Adam {
  float rate, first_decay, second_decay, epsilon, keep, first_correction, second_root, gradient_scale;
};

// `copy` is null where steps compute with the weights themselves.
template <typename Number>
INLINE void update(float* weight, const Number* gradient, float* mean, float* square, bf16* copy, int64_t count, Adam adam) {
#pragma omp simd
  for (int64_t at = 0; at < count; ++at) {
    const float g = load(gradient + at) * adam.gradient_scale;
    const float m = mean[at] + (1.0f - adam.first_decay) * (g - mean[at]);
    const float s = square[at] * adam.second_decay + (1.0f - adam.second_decay) * g * g;
    const float size = std::sqrt(s) * adam.second_root + adam.epsilon;
    mean[at] = m;
    square[at] = s;
    weight[at] = weight[at] * adam.keep - adam.rate * (m * adam.first_correction / size);
  }
  if (copy) {
#pragma omp simd
    for (int64_t at = 0; at < count; ++at) store(copy + at, weight[at]);
  }
}

template <typename Number>
INLINE float squares(const Number* numbers, int64_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t at = 0; at < count; ++at) sum += load(numbers + at) * load(numbers + at);
  return sum;
}

template <typename Number>
INLINE void add(float* to, const Number* from, int64_t count) {
#pragma omp simd
  for (int64_t at = 0; at < count; ++at) to[at] += load(from + at);
}

#define KERNELS(Number)                                                                                                \
  FOR_EVERY_PROCESSOR void update_of(float* w, const Number* g, float* m, float* s, bf16* copy, int64_t n, Adam adam) { \
    update(w, g, m, s, copy, n, adam);                                                                                 \
  }                                                                                                                    \
  FOR_EVERY_PROCESSOR float squares_of(const Number* numbers, int64_t count) { return squares(numbers, count); }       \
  FOR_EVERY_PROCESSOR void add_of(float* to, const Number* from, int64_t count) { add(to, from, count); }

KERNELS(float)
KERNELS(bf16)
#undef KERNELS

// Numbers in a cache's reach: the pass that copies finds them there, and partial sums do not depend on the threads.
constexpr int64_t BLOCK = 1 << 12;

}  // namespace

// One weight. `gradient` is fp32 or bf16, `copy` null or bf16, all of the weight's size and contiguous.
extern "C" char* stepwise_adamw(Tensor* weight, const Tensor* gradient, Tensor* mean, Tensor* square, Tensor* copy,
                                const float* settings) {
  return guarded([&] {
    Adam adam;
    static_assert(sizeof(Adam) == 8 * sizeof(float), "eight numbers cross from Rust");
    std::memcpy(&adam, settings, sizeof adam);
    const Tensor given = gradient->contiguous();
    check_sizes(given, weight->sizes(), "a gradient");
    check_sizes(*mean, weight->sizes(), "a mean gradient");
    check_sizes(*square, weight->sizes(), "a mean squared gradient");
    if (copy) check_sizes(*copy, weight->sizes(), "a copy");
    by_kind(given, [&](auto* kind) {
      using Number = std::remove_pointer_t<decltype(kind)>;
      at::parallel_for(0, weight->numel(), GRAIN, [&](int64_t begin, int64_t end) {
        for (int64_t at = begin; at < end; at += BLOCK)
          update_of(data<float>(*weight) + at, data<Number>(given) + at, data<float>(*mean) + at,
                    data<float>(*square) + at, copy ? data<bf16>(*copy) + at : nullptr, std::min(BLOCK, end - at), adam);
      });
    });
  });
}

// The sum of squares, in fp64 over blocks whose size does not depend on the threads.
extern "C" char* stepwise_sum_of_squares(const Tensor* tensor, double* sum) {
  return guarded([&] {
    const Tensor given = tensor->contiguous();
    const int64_t count = given.numel(), blocks = (count + BLOCK - 1) / BLOCK;
    std::vector<float> sums(blocks);
    by_kind(given, [&](auto* kind) {
      using Number = std::remove_pointer_t<decltype(kind)>;
      at::parallel_for(0, blocks, GRAIN / BLOCK, [&](int64_t begin, int64_t end) {
        for (int64_t block = begin; block < end; ++block)
          sums[block] = squares_of(data<Number>(given) + block * BLOCK, std::min(BLOCK, count - block * BLOCK));
      });
    });
    *sum = 0.0;
    for (const float part : sums) *sum += part;
  });
}

// to += from, where `to` is fp32.
extern "C" char* stepwise_accumulate(Tensor* to, const Tensor* from) {
  return guarded([&] {
    const Tensor given = from->contiguous();
    check_sizes(given, to->sizes(), "what is added");
    by_kind(given, [&](auto* kind) {
      using Number = std::remove_pointer_t<decltype(kind)>;
      at::parallel_for(0, given.numel(), GRAIN, [&](int64_t begin, int64_t end) {
        add_of(data<float>(*to) + begin, data<Number>(given) + begin, end - begin);
      });
    });
  });
}
