// The end of a product: sums of a block become what the target wants. Inlined into each kernel, so that it is compiled for the
// kernel's instructions.
#pragma once

#include <algorithm>
#include <limits>
#include <tuple>

#include "../activated.h"
#include "product.h"

// Rows that are multiplied at once, at most.
constexpr int64_t BLOCK = 32;

template <Activation kind, typename Number>
INLINE void gate(const float* sums, int64_t count, Number* out) {
#pragma omp simd
  for (int64_t at = 0; at < count; ++at) store(out + at, activated<kind>(sums[at]) * sums[at + TILE]);
}

template <Activation kind, typename Number>
INLINE void activate(const float* sums, int64_t count, Number* out) {
#pragma omp simd
  for (int64_t at = 0; at < count; ++at) store(out + at, activated<kind>(sums[at]));
}

INLINE void sum_up(const float* sums, int64_t count, float* out) {
  float most = sums[0], sum = 0.0f;
#pragma omp simd reduction(max : most)
  for (int64_t at = 0; at < count; ++at) most = sums[at] > most ? sums[at] : most;
#pragma omp simd reduction(+ : sum)
  for (int64_t at = 0; at < count; ++at) sum += exponential(sums[at] - most);
  out[0] = most;
  out[1] = sum;
}

INLINE void find_largest(const float* sums, int64_t count, int64_t column, int64_t barred, Largest* out) {
  constexpr float NOTHING = -std::numeric_limits<float>::infinity();
  float scores[PANEL], most = NOTHING, strange = 0.0f;
#pragma omp simd
  for (int64_t at = 0; at < count; ++at) scores[at] = column + at == barred ? NOTHING : sums[at];
#pragma omp simd reduction(max : most)
  for (int64_t at = 0; at < count; ++at) most = scores[at] > most ? scores[at] : most;
  // What is not a number is no larger than any, so it is looked for by itself.
#pragma omp simd reduction(max : strange)
  for (int64_t at = 0; at < count; ++at) strange = scores[at] == scores[at] ? strange : 1.0f;
  int32_t place = PANEL;
#pragma omp simd reduction(min : place)
  for (int32_t at = 0; at < static_cast<int32_t>(count); ++at) {
    const int32_t own = scores[at] == most ? at : static_cast<int32_t>(PANEL);
    place = own < place ? own : place;
  }
  *out = strange > 0.0f ? Largest{std::numeric_limits<float>::quiet_NaN(), 0} : Largest{most, static_cast<int32_t>(column) + place};
}

// `sums` (rows, PANEL) of the rows from `first` on, of the columns of a panel.
template <typename Number>
INLINE void deliver(const float* sums, int64_t first, int64_t rows, int64_t panel, int64_t columns, const Target& target) {
  const int64_t width = target.become == Become::GATED ? TILE : PANEL;
  const int64_t all = target.become == Become::GATED ? columns / 2 : columns;
  const int64_t column = panel * width, count = std::min(width, all - column);
  for (int64_t row = 0; row < rows; ++row, sums += PANEL) {
    const int64_t place = (first + row) * target.stride + column;
    Number* numbers = static_cast<Number*>(target.out) + place;
    float* floats = static_cast<float*>(target.out) + place;
    switch (target.become) {
      case Become::FLOATS:
#pragma omp simd
        for (int64_t at = 0; at < count; ++at) floats[at] = sums[at];
        break;
      case Become::ADDED:
#pragma omp simd
        for (int64_t at = 0; at < count; ++at) floats[at] += sums[at];
        break;
      case Become::NUMBERS:
#pragma omp simd
        for (int64_t at = 0; at < count; ++at) store(numbers + at, sums[at]);
        break;
      case Become::GATED:
        if (target.activation == Activation::RELU) gate<Activation::RELU>(sums, count, numbers);
        if (target.activation == Activation::GELU) gate<Activation::GELU>(sums, count, numbers);
        if (target.activation == Activation::SILU) gate<Activation::SILU>(sums, count, numbers);
        break;
      case Become::ACTIVATED:
        if (target.activation == Activation::RELU) activate<Activation::RELU>(sums, count, numbers);
        if (target.activation == Activation::GELU) activate<Activation::GELU>(sums, count, numbers);
        if (target.activation == Activation::SILU) activate<Activation::SILU>(sums, count, numbers);
        break;
      case Become::SUMMED:
        sum_up(sums, count, static_cast<float*>(target.out) + (panel * target.stride + first + row) * 2);
        break;
      case Become::LARGEST:
        find_largest(sums, count, column, target.barred[first + row],
                     static_cast<Largest*>(target.out) + panel * target.stride + first + row);
        break;
    }
  }
}

// A member's share of a product: units, each a panel and some rows.
struct Units {
  int64_t rows, parts, rows_of_part, begin, end;

  Units(const Team& team, int64_t rows, int64_t panels) : rows(rows) {
    // Panels alone where there are enough of them: a panel then stays in the cache for all rows.
    parts = panels >= 8 * team.size ? 1 : (rows + BLOCK - 1) / BLOCK;
    rows_of_part = parts == 1 ? rows : BLOCK;
    std::tie(begin, end) = team.share(panels * parts);
  }

  int64_t panel(int64_t unit) const { return unit / parts; }
  int64_t first_row(int64_t unit) const { return unit % parts * rows_of_part; }
  int64_t end_row(int64_t unit) const { return std::min(rows, first_row(unit) + rows_of_part); }
};
