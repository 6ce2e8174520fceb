// Products of rows and a prepacked matrix. A row's results do not depend on the rows beside it: each is summed in one order, however
// many there are.
#pragma once

#include "../activated.h"
#include "matrix.h"
#include "team.h"

// What becomes of the columns of a product.
enum class Become : int64_t {
  // fp32 numbers.
  FLOATS,
  // Numbers of the kind that was multiplied.
  NUMBERS,
  // Added to fp32 numbers.
  ADDED,
  // The first half of a panel, activated, times its second half, as numbers.
  GATED,
  // Activated, as numbers.
  ACTIVATED,
  // The largest of a panel's columns, and the sum of the exponentials of all less that: two fp32 numbers, of row `r` and panel `p`
  // at `(p * stride + r) * 2`.
  SUMMED,
  // The largest of a panel's columns and where it is, a `Largest` of row `r` and panel `p` at `p * stride + r`.
  LARGEST,
};

// A score and its column, of equal ones the first. Not a number, and column 0, where one of those that were compared is none.
struct Largest {
  float score;
  int32_t column;
};

// Where it goes: rows that are `stride` numbers apart.
struct Target {
  Become become;
  void* out;
  int64_t stride;
  Activation activation = Activation::RELU;
  // For LARGEST: each row's column that does not count, or -1.
  const int64_t* barred = nullptr;
};

// How bf16 is multiplied: not, by AVX-512's instructions for pairs of numbers, or by AMX's for tiles.
enum class Way : int64_t { NONE, PAIRS, TILES };

// The best way that the processor has and the kernel allows.
Way way_of_processor();

// This member's share of the first `count` rows times the matrix. Where the matrix has levels, `widened` is room of this member's own for
// a panel of numbers.
void multiply(const Team& team, const Rows<float>& rows, int64_t count, const Matrix<float>& matrix, const Target& target,
              float* widened = nullptr);
void multiply(const Team& team, const Rows<bf16>& rows, int64_t count, const Matrix<bf16>& matrix, const Target& target,
              bf16* widened = nullptr, Way way = way_of_processor());
