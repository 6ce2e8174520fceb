// Products of small fp32 matrices that lie in a cache, for the heads of attention: too small for a library's call each.
#pragma once

#include "numbers.h"

// Numbers that are multiplied at once; columns come in multiples of it.
constexpr int64_t LANES = 16;

typedef float Lanes __attribute__((vector_size(64), aligned(4), may_alias));

INLINE int64_t padded(int64_t columns) { return (columns + LANES - 1) / LANES * LANES; }

// A matrix whose element (row, column) lies at `numbers[row * row_step + column * column_step]`: transposed by swapping steps.
struct Left {
  const float* numbers;
  int64_t row_step, column_step;
};

// out[R][VECTORS * LANES] += left[R][depth] * right[depth][VECTORS * LANES], sums in registers.
template <int R, int VECTORS>
INLINE void multiply_block(Left left, const float* right, int64_t right_step, float* out, int64_t out_step, int64_t depth) {
  Lanes sums[R][VECTORS];
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row)
#pragma GCC unroll 2
    for (int vector = 0; vector < VECTORS; ++vector)
      sums[row][vector] = *reinterpret_cast<const Lanes*>(out + row * out_step + vector * LANES);
  for (int64_t at = 0; at < depth; ++at) {
    Lanes factors[VECTORS];
#pragma GCC unroll 2
    for (int vector = 0; vector < VECTORS; ++vector)
      factors[vector] = *reinterpret_cast<const Lanes*>(right + at * right_step + vector * LANES);
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      const float factor = left.numbers[row * left.row_step + at * left.column_step];
#pragma GCC unroll 2
      for (int vector = 0; vector < VECTORS; ++vector) sums[row][vector] += factor * factors[vector];
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row)
#pragma GCC unroll 2
    for (int vector = 0; vector < VECTORS; ++vector)
      *reinterpret_cast<Lanes*>(out + row * out_step + vector * LANES) = sums[row][vector];
}

template <int VECTORS>
INLINE void multiply_columns(Left left, const float* right, int64_t right_step, float* out, int64_t out_step, int64_t rows,
                             int64_t depth) {
  int64_t row = 0;
  for (; row + 6 <= rows; row += 6)
    multiply_block<6, VECTORS>({left.numbers + row * left.row_step, left.row_step, left.column_step}, right, right_step,
                               out + row * out_step, out_step, depth);
  for (; row < rows; ++row)
    multiply_block<1, VECTORS>({left.numbers + row * left.row_step, left.row_step, left.column_step}, right, right_step,
                               out + row * out_step, out_step, depth);
}

// out[rows][columns] += left[rows][depth] * right[depth][columns]; columns are a multiple of LANES.
INLINE void multiply(Left left, const float* right, int64_t right_step, float* out, int64_t out_step, int64_t rows,
                     int64_t columns, int64_t depth) {
  int64_t column = 0;
  for (; column + 2 * LANES <= columns; column += 2 * LANES)
    multiply_columns<2>(left, right + column, right_step, out + column, out_step, rows, depth);
  for (; column < columns; column += LANES)
    multiply_columns<1>(left, right + column, right_step, out + column, out_step, rows, depth);
}
