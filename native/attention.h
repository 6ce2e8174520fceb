// Attention of many heads over sequences that lie end to end, one head of one sequence at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "dropout.h"
#include "product.h"

namespace attention {

// What all pieces of work share. Rows of queries, keys and values are `step_q` and `step_k` numbers apart, those that come out
// `step_out`.
struct Shape {
  int64_t heads, width, step_q, step_k, step_out, zero, distances;
  bool causal;
  Dropout dropout;
};

// One head of one sequence.
struct Piece {
  int64_t head, query_start, queries, key_start, keys;
  // The number of this head's first score among all scores, for dropout.
  uint32_t first_score;
};

// Query rows whose scores are held at once.
constexpr int64_t ROWS = 48;

// Numbers of scratch that a piece with so many keys needs.
inline int64_t scratch_size(int64_t width, int64_t keys) {
  return width * padded(keys) + keys * padded(width) + ROWS * (2 * padded(width) + padded(keys));
}

// Writes what the piece's queries find, and the log-sum-exp of each one's scores. `bias` is that of all heads, or null. `scratch`
// grows as need be.
void attend_of(const Shape& shape, const Piece& piece, const float* q, const float* k, const float* v, const float* bias, float* out,
               float* log_sums, std::vector<float>& scratch);
void attend_of(const Shape& shape, const Piece& piece, const bf16* q, const bf16* k, const bf16* v, const float* bias, bf16* out,
               float* log_sums, std::vector<float>& scratch);

}  // namespace attention
