// One query's look at keys and values that are kept, in fp32, sixteen keys or numbers at a time.
#pragma once

#include <algorithm>

#include "../product.h"
#include "../softmax.h"

// Keys and values of a head. Keys lie across: (d_kv, capacity); values are (capacity, padded(d_kv)), zero past d_kv. Capacity is a
// multiple of LANES.
template <typename Number>
struct Head {
  const Number *keys, *values;
  int64_t capacity;
};

INLINE Lanes load_lanes(const float* place) { return *reinterpret_cast<const Lanes*>(place); }
INLINE Lanes load_lanes(const bf16* place) {
  typedef uint16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));
  typedef uint32_t Wholes __attribute__((vector_size(64)));
  const Wholes bits = __builtin_convertvector(*reinterpret_cast<const Halves*>(place), Wholes) << 16;
  Lanes lanes;
  std::memcpy(&lanes, &bits, sizeof lanes);
  return lanes;
}

// scores[key] += query . key, for `BLOCKS` * LANES keys.
template <int BLOCKS, typename Number>
INLINE void score_keys(const Number* query, int64_t width, const Number* keys, int64_t capacity, float* scores) {
  Lanes sums[BLOCKS];
#pragma GCC unroll 4
  for (int block = 0; block < BLOCKS; ++block) sums[block] = load_lanes(scores + block * LANES);
  for (int64_t at = 0; at < width; ++at) {
    const float factor = load(query + at);
#pragma GCC unroll 4
    for (int block = 0; block < BLOCKS; ++block) sums[block] += factor * load_lanes(keys + at * capacity + block * LANES);
  }
#pragma GCC unroll 4
  for (int block = 0; block < BLOCKS; ++block) *reinterpret_cast<Lanes*>(scores + block * LANES) = sums[block];
}

// out = shares . values, for `BLOCKS` * LANES of a value's numbers.
template <int BLOCKS, typename Number>
INLINE void mix_values(const float* shares, int64_t count, const Number* values, int64_t step, int64_t width, Number* out) {
  Lanes sums[BLOCKS] = {};
  for (int64_t key = 0; key < count; ++key)
#pragma GCC unroll 4
    for (int block = 0; block < BLOCKS; ++block) sums[block] += shares[key] * load_lanes(values + key * step + block * LANES);
  float numbers[BLOCKS * LANES];
  std::memcpy(numbers, sums, sizeof numbers);
#pragma omp simd
  for (int64_t at = 0; at < width; ++at) store(out + at, numbers[at]);
}

// What a query (width) finds at the first `count` keys. `scores` holds what is added to each key's score, and room up to a
// multiple of LANES.
template <typename Number>
INLINE void look(const Number* query, int64_t width, const Head<Number>& head, int64_t count, float* scores, Number* out) {
  int64_t key = 0;
  for (; key + 4 * LANES <= padded(count); key += 4 * LANES)
    score_keys<4>(query, width, head.keys + key, head.capacity, scores + key);
  for (; key < count; key += LANES) score_keys<1>(query, width, head.keys + key, head.capacity, scores + key);
  share_out(scores, count);
  int64_t at = 0;
  for (; at + 4 * LANES <= width; at += 4 * LANES)
    mix_values<4>(scores, count, head.values + at, padded(width), 4 * LANES, out + at);
  for (; at < width; at += LANES)
    mix_values<1>(scores, count, head.values + at, padded(width), std::min(LANES, width - at), out + at);
}

void look_at(const float* query, int64_t width, const Head<float>& head, int64_t count, float* scores, float* out);
void look_at(const bf16* query, int64_t width, const Head<bf16>& head, int64_t count, float* scores, bf16* out);
