// Scores of keys -> shares of attention.
#pragma once

#include <limits>

#include "numbers.h"

// Scores -> shares that sum to one. Gives the logarithm of the sum of the scores' exponentials.
INLINE float share_out(float* scores, int64_t count) {
  float most = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : most)
  for (int64_t key = 0; key < count; ++key) most = scores[key] > most ? scores[key] : most;
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t key = 0; key < count; ++key) {
    scores[key] = exponential(scores[key] - most);
    sum += scores[key];
  }
  const float scale = 1.0f / sum;
#pragma omp simd
  for (int64_t key = 0; key < count; ++key) scores[key] *= scale;
  return most + std::log(sum);
}

// The same with a bias added to each score first.
INLINE float share_out(float* scores, const float* bias, int64_t count) {
#pragma omp simd
  for (int64_t key = 0; key < count; ++key) scores[key] += bias[key];
  return share_out(scores, count);
}
