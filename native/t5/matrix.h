// Matrices as products want them: weights in panels of 32 columns that are read from front to back, and rows that begin where a
// register does.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <c10/util/Exception.h>

#include "../numbers.h"
#include "memory.h"

// Columns of a panel, and numbers that the depth of a product and the length of a row are filled up to.
constexpr int64_t PANEL = 32;
// Rows and columns of a processor's tile.
constexpr int64_t TILE = 16;

// How a matrix is kept.
enum class Storage : int64_t {
  // As numbers of the kind that is multiplied.
  NUMBERS,
  // As levels: whole numbers from -127 to 127 in eight bits, and for each column what its levels are multiplied by. Half of the memory
  // that few rows wait for. Levels are exact in bf16, in which they are multiplied; the sums are scaled.
  LEVELS,
};

// The numbers of a linear layer, each of whose columns is a row of its weight. In fp32 a panel is (depth, 32). In bf16 it is
// (depth / 32, 2 tiles, 16, 16 columns, 2): a number and the next of its column lie side by side, as the processor's
// instructions for bf16 take them. Levels lie in the places of numbers.
template <typename Number>
struct Matrix {
  int64_t columns = 0, depth = 0;
  // Either these,
  Buffer<Number> numbers;
  // or these, with as many scales as panels have columns.
  Buffer<int8_t> levels;
  std::vector<float> scales;

  int64_t panels() const { return (columns + PANEL - 1) / PANEL; }
  int64_t panel_size() const { return up_to(depth, PANEL) * PANEL; }
  bool has_levels() const { return !scales.empty(); }
  const Number* panel(int64_t number) const { return numbers.begin() + number * panel_size(); }
  const int8_t* panel_of_levels(int64_t number) const { return levels.begin() + number * panel_size(); }
  const float* scales_of(int64_t panel) const { return scales.data() + panel * PANEL; }
};

INLINE int64_t place_in_panel(const float*, int64_t column, int64_t at) { return at * PANEL + column; }
INLINE int64_t place_in_panel(const bf16*, int64_t column, int64_t at) {
  const int64_t tile = at / PANEL * 2 + column / TILE, pair = at % PANEL / 2;
  return ((tile * TILE + pair) * TILE + column % TILE) * 2 + at % 2;
}

// Writes a column's levels; gives its scale. The largest number has the level 127. A column of zeros, or of numbers so small that there
// is no factor for them, has the levels of zeros. What is no number has no level.
template <typename Number>
float write_levels(const Number* column, int64_t depth, int8_t* panel, int64_t number_in_panel) {
  constexpr float MOST = 127.0f;
  float most = 0.0f;
  for (int64_t at = 0; at < depth; ++at) {
    const float size = std::abs(load(column + at));
    TORCH_CHECK(std::isfinite(size), "a weight is not finite, and has no level");
    most = std::max(most, size);
  }
  const float scale = most / MOST, wanted = MOST / most, factor = std::isfinite(wanted) ? wanted : 0.0f;
  for (int64_t at = 0; at < depth; ++at)
    panel[place_in_panel(column, number_in_panel, at)] = static_cast<int8_t>(std::nearbyintf(load(column + at) * factor));
  return scale;
}

// A matrix of columns that lie anywhere, `depth` numbers each; null stands for zeros.
template <typename Number>
Matrix<Number> prepack(const std::vector<const Number*>& columns, int64_t depth, Storage storage) {
  Matrix<Number> prepacked{static_cast<int64_t>(columns.size()), depth, {}, {}, {}};
  const int64_t size = prepacked.panel_size();
  if (storage == Storage::LEVELS) {
    prepacked.levels = Buffer<int8_t>(prepacked.panels() * size);
    prepacked.scales.resize(prepacked.panels() * PANEL);
  } else {
    prepacked.numbers = Buffer<Number>(prepacked.panels() * size);
  }
  for (int64_t column = 0; column < prepacked.columns; ++column) {
    const Number* from = columns[column];
    const int64_t panel = column / PANEL, number = column % PANEL;
    if (!from) continue;
    if (storage == Storage::LEVELS) {
      prepacked.scales[column] = write_levels(from, depth, prepacked.levels.begin() + panel * size, number);
    } else {
      Number* to = prepacked.numbers.begin() + panel * size;
      for (int64_t at = 0; at < depth; ++at) to[place_in_panel(from, number, at)] = from[at];
    }
  }
  return prepacked;
}

// Rows whose numbers past their width are zero and stay so.
template <typename Number>
struct Rows {
  int64_t width = 0, stride = 0, held = 0;
  Buffer<Number> numbers;

  Rows() = default;
  explicit Rows(int64_t width) : width(width), stride(up_to(width, PANEL)) {}

  // Makes room. A product reads up to a multiple of 32 rows; what it finds in those that nobody wrote goes nowhere.
  void hold(int64_t rows) {
    if (rows <= held) return;
    held = up_to(std::max(rows, 2 * held), PANEL);
    numbers = Buffer<Number>(held * stride);
  }

  Number* row(int64_t number) const { return numbers.begin() + number * stride; }
};
