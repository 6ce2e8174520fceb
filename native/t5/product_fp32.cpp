// Products in fp32.
#include "../product.h"

#include "deliver.h"

namespace {

INLINE void block_of_rows(const float* left, int64_t stride, int64_t rows, const float* panel, int64_t depth, float* sums) {
  int64_t row = 0;
  for (; row + 8 <= rows; row += 8)
    multiply_block<8, 2>({left + row * stride, stride, 1}, panel, PANEL, sums + row * PANEL, PANEL, depth);
  for (; row + 4 <= rows; row += 4)
    multiply_block<4, 2>({left + row * stride, stride, 1}, panel, PANEL, sums + row * PANEL, PANEL, depth);
  for (; row < rows; ++row)
    multiply_block<1, 2>({left + row * stride, stride, 1}, panel, PANEL, sums + row * PANEL, PANEL, depth);
}

FOR_EVERY_PROCESSOR void multiply_fp32(const Team& team, const Rows<float>& rows, int64_t count, const Matrix<float>& matrix,
                                       const Target& target) {
  alignas(64) float sums[BLOCK * PANEL];
  const Units units(team, count, matrix.panels());
  for (int64_t unit = units.begin; unit < units.end; ++unit)
    for (int64_t first = units.first_row(unit); first < units.end_row(unit); first += BLOCK) {
      const int64_t panel = units.panel(unit), some = std::min(BLOCK, units.end_row(unit) - first);
      std::fill(sums, sums + some * PANEL, 0.0f);
      block_of_rows(rows.row(first), rows.stride, some, matrix.panel(panel), matrix.depth, sums);
      deliver<float>(sums, first, some, panel, matrix.columns, target);
    }
}

}  // namespace

// There are no levels of fp32.
void multiply(const Team& team, const Rows<float>& rows, int64_t count, const Matrix<float>& matrix, const Target& target, float*) {
  multiply_fp32(team, rows, count, matrix, target);
}
