// Numbers as the kernels see them: fp32 and bf16 in memory, fp32 in registers. Everything here is inlined into loops that the
// compiler turns into vector instructions, so there is no branch in it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

// Compiles a function once for each generation of x86-64 processors; the best one is chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define FOR_EVERY_PROCESSOR
#endif
#define INLINE static inline __attribute__((always_inline))

// The upper half of an fp32 number.
struct bf16 {
  uint16_t bits;
};

INLINE float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

INLINE uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

INLINE float load(const float* place) { return *place; }
INLINE float load(const bf16* place) { return bits_to_float(static_cast<uint32_t>(place->bits) << 16); }
INLINE void store(float* place, float value) { *place = value; }

// Rounds to the nearest, ties to even; what is not a number stays so.
INLINE void store(bf16* place, float value) {
  const uint32_t bits = float_to_bits(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  place->bits = static_cast<uint16_t>(value == value ? rounded : 0x7fc0u);
}

// e^x to within two units in the last place for x <= 88; 0 below -87. Cephes' polynomial.
INLINE float exponential(float x) {
  const float bounded = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  const float whole = std::nearbyintf(bounded * 1.44269504088896341f);
  const float rest = (bounded - whole * 0.693359375f) + whole * 2.12194440e-4f;
  float sum = 1.9875691500e-4f;
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.0f;
  const float power = bits_to_float(static_cast<uint32_t>(static_cast<int32_t>(whole) + 127) << 23);
  const float result = sum * power;
  // A comparison with what is not a number is false, so that it goes through.
  return x < -87.0f ? 0.0f : (x == x ? result : x);
}

INLINE float hyperbolic_tangent(float x) { return 1.0f - 2.0f / (exponential(2.0f * x) + 1.0f); }
INLINE float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }
