// What every kernel file needs of libtorch, and how errors cross into Rust: a message instead of an exception.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <optional>

#include "dropout.h"
#include "numbers.h"

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Numbers that are worth a thread of their own.
constexpr int64_t GRAIN = 1 << 14;

// Calls `work` with a null pointer of the tensor's number type.
template <typename Work>
void by_kind(const Tensor& tensor, Work work) {
  if (tensor.scalar_type() == at::kBFloat16) {
    work(static_cast<bf16*>(nullptr));
  } else {
    TORCH_CHECK(tensor.scalar_type() == at::kFloat, "a kernel for fp32 and bf16 was given ", tensor.scalar_type());
    work(static_cast<float*>(nullptr));
  }
}

// The numbers of a contiguous tensor of this type.
template <typename Number>
Number* data(const Tensor& tensor) {
  const at::ScalarType wanted = std::is_same_v<Number, float>  ? at::kFloat
                                : std::is_same_v<Number, bf16> ? at::kBFloat16
                                                               : at::kLong;
  TORCH_CHECK(tensor.scalar_type() == wanted && tensor.is_contiguous() && tensor.is_cpu(), "a kernel wants ", wanted,
              " side by side on the processor, not ", tensor.toString(), " of ", tensor.sizes());
  return static_cast<Number*>(tensor.data_ptr());
}

inline void check_sizes(const Tensor& tensor, at::IntArrayRef wanted, const char* what) {
  TORCH_CHECK(tensor.sizes() == wanted, what, " has the sizes ", tensor.sizes(), ", not ", wanted);
}

// How many parts `parallel_for` cuts `rows` into at most, and so how many partial sums there are.
inline int64_t parts() { return at::get_num_threads(); }

// Rows of at least GRAIN numbers in all.
inline int64_t rows_grain(int64_t width) { return std::max<int64_t>(1, GRAIN / std::max<int64_t>(1, width)); }

// What a null pointer stands for.
inline std::optional<Tensor> optional(const Tensor* tensor) {
  return tensor ? std::optional<Tensor>(*tensor) : std::nullopt;
}

// Runs `work`; on an exception gives its message, which the caller frees, and otherwise null.
template <typename Work>
char* guarded(Work work) {
  try {
    work();
    return nullptr;
  } catch (const std::exception& error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an exception without words");
  }
}
