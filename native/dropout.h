// Dropout without a mask in memory: whether a number is dropped is a hash of its place and a seed, so the backward pass asks
// again. The same seed and place give the same answer on any number of threads.
#pragma once

#include "numbers.h"

struct Dropout {
  uint32_t seed;
  // A number is dropped when its hash is below this.
  uint32_t threshold;
  // What the others are multiplied by, to keep the mean.
  float scale;

  static Dropout of(double probability, uint64_t seed) {
    const auto mixed = static_cast<uint32_t>((seed * 0x9e3779b97f4a7c15ull) >> 32);
    if (probability <= 0.0) return {mixed, 0, 1.0f};
    return {mixed, static_cast<uint32_t>(probability * 4294967296.0), static_cast<float>(1.0 / (1.0 - probability))};
  }

  // 0 or the scale for the number at a place. The hash is Wellons' `lowbias32`.
  __attribute__((always_inline)) inline float factor(uint32_t place) const {
    uint32_t hash = place + seed;
    hash ^= hash >> 16;
    hash *= 0x7feb352du;
    hash ^= hash >> 15;
    hash *= 0x846ca68bu;
    hash ^= hash >> 16;
    return hash < threshold ? 0.0f : scale;
  }
};
