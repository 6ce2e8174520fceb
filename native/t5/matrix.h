// Matrices as products want them: weights in panels of 32 columns that are read from front to back, and rows that begin where a
// register does.
#pragma once

#include <vector>

#include "../numbers.h"
#include "memory.h"

// Columns of a panel, and numbers that the depth of a product and the length of a row are filled up to.
constexpr int64_t PANEL = 32;
// Rows and columns of a processor's tile.
constexpr int64_t TILE = 16;

// The numbers of a linear layer, each of whose columns is a row of its weight. In fp32 a panel is (depth, 32). In bf16 it is
// (depth / 32, 2 tiles, 16, 16 columns, 2): a number and the next of its column lie side by side, as the processor's
// instructions for bf16 take them.
template <typename Number>
struct Matrix {
  int64_t columns = 0, depth = 0;
  Buffer<Number> numbers;

  int64_t panels() const { return (columns + PANEL - 1) / PANEL; }
  int64_t panel_size() const { return up_to(depth, PANEL) * PANEL; }
  const Number* panel(int64_t number) const { return numbers.begin() + number * panel_size(); }
};

INLINE int64_t place_in_panel(const float*, int64_t column, int64_t at) { return at * PANEL + column; }
INLINE int64_t place_in_panel(const bf16*, int64_t column, int64_t at) {
  const int64_t tile = at / PANEL * 2 + column / TILE, pair = at % PANEL / 2;
  return ((tile * TILE + pair) * TILE + column % TILE) * 2 + at % 2;
}

// A matrix of columns that lie anywhere, `depth` numbers each; null stands for zeros.
template <typename Number>
Matrix<Number> prepack(const std::vector<const Number*>& columns, int64_t depth) {
  Matrix<Number> prepacked{static_cast<int64_t>(columns.size()), depth, {}};
  prepacked.numbers = Buffer<Number>(prepacked.panels() * prepacked.panel_size());
  for (int64_t column = 0; column < prepacked.columns; ++column) {
    if (!columns[column]) continue;
    Number* panel = prepacked.numbers.begin() + column / PANEL * prepacked.panel_size();
    for (int64_t at = 0; at < depth; ++at)
      panel[place_in_panel(static_cast<const Number*>(nullptr), column % PANEL, at)] = columns[column][at];
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
