// What a feed-forward layer activates with.
#pragma once

#include "numbers.h"

enum class Activation : int64_t { RELU, GELU, SILU };

constexpr float ROOT_2_OVER_PI = 0.7978845608028654f, CUBIC = 0.044715f;

// The argument of the hyperbolic tangent in GELU's approximation.
INLINE float inner_of_gelu(float x) { return ROOT_2_OVER_PI * (x + CUBIC * x * x * x); }

// ReLU, the tanh approximation of GELU, as T5 v1.1 has it, or SiLU.
template <Activation kind>
INLINE float activated(float x) {
  if constexpr (kind == Activation::RELU) return x > 0.0f ? x : 0.0f;
  if constexpr (kind == Activation::GELU) return 0.5f * x * (1.0f + hyperbolic_tangent(inner_of_gelu(x)));
  if constexpr (kind == Activation::SILU) return x * logistic(x);
}
