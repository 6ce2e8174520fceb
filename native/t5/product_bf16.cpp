// Products in bf16, summed in fp32: by tiles where the processor has AMX, by pairs where it has AVX-512's bf16 instructions.
#include "deliver.h"

#include "tiles.h"

#ifdef HAS_TILES
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// How far ahead the weights of few rows are asked for: they come from memory, once a step, and while sums are busy the processor does not
// look so far by itself.
constexpr int64_t AHEAD = 8 * TILE_SIZE;

FOR_TILES INLINE void ask_for(const bf16* numbers) {
#pragma GCC unroll 32
  for (int64_t line = 0; line < 32; ++line) _mm_prefetch(reinterpret_cast<const char*>(numbers + line * PANEL), _MM_HINT_T0);
}

// sums (16, PANEL) = left (16, depth) * panel (depth, PANEL)
FOR_TILES INLINE void tiles_of_16_rows(const bf16* left, int64_t stride, const bf16* panel, int64_t depth_tiles, float* sums) {
  _tile_zero(0);
  _tile_zero(1);
  for (int64_t at = 0; at < depth_tiles; ++at, panel += 2 * TILE_SIZE) {
    ask_for(panel + AHEAD);
    _tile_loadd(4, left + at * PANEL, stride * 2);
    _tile_loadd(6, panel, 64);
    _tile_loadd(7, panel + TILE_SIZE, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, sums, PANEL * 4);
  _tile_stored(1, sums + TILE, PANEL * 4);
}

// The same for 32 rows.
FOR_TILES INLINE void tiles_of_32_rows(const bf16* left, int64_t stride, const bf16* panel, int64_t depth_tiles, float* sums) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const bf16* below = left + TILE * stride;
  for (int64_t at = 0; at < depth_tiles; ++at, panel += 2 * TILE_SIZE) {
    _tile_loadd(4, left + at * PANEL, stride * 2);
    _tile_loadd(6, panel, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, panel + TILE_SIZE, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, below + at * PANEL, stride * 2);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, PANEL * 4);
  _tile_stored(1, sums + TILE, PANEL * 4);
  _tile_stored(2, sums + TILE * PANEL, PANEL * 4);
  _tile_stored(3, sums + TILE * PANEL + TILE, PANEL * 4);
}

// What is multiplied with a block of rows: a panel of numbers, or of levels as they are.
FOR_PAIRS INLINE __m512bh pairs_at(const bf16* numbers) { return (__m512bh)_mm512_load_si512(numbers); }
FOR_PAIRS INLINE __m512bh pairs_at(const int8_t* levels) {
  const auto wide = [](const int8_t* some) FOR_PAIRS {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(some))));
  };
  return _mm512_cvtne2ps_pbh(wide(levels + TILE), wide(levels));
}

// sums (PANELS, R, PANEL) = left (R, depth) * panels (PANELS, depth, PANEL). A sum waits for the one before it: only with eight of them or
// more side by side is the processor busy.
template <int R, int PANELS, typename Weight>
FOR_PAIRS INLINE void pairs_of_rows(const bf16* left, int64_t stride, const Weight* panels, int64_t depth_tiles, float* sums) {
  const int64_t panel_size = depth_tiles * 2 * TILE_SIZE;
  __m512 low[PANELS][R], high[PANELS][R];
#pragma GCC unroll 4
  for (int panel = 0; panel < PANELS; ++panel)
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) low[panel][row] = high[panel][row] = _mm512_setzero_ps();
  for (int64_t at = 0; at < depth_tiles; ++at, panels += 2 * TILE_SIZE)
    for (int64_t pair = 0; pair < TILE; ++pair)
#pragma GCC unroll 4
      for (int panel = 0; panel < PANELS; ++panel) {
        const Weight* place = panels + panel * panel_size + pair * PANEL;
        // Numbers of one row come fastest without asking.
        if constexpr (R > 1 || sizeof(Weight) == 1) {
          _mm_prefetch(reinterpret_cast<const char*>(place + AHEAD), _MM_HINT_T0);
          _mm_prefetch(reinterpret_cast<const char*>(place + AHEAD + TILE_SIZE), _MM_HINT_T0);
        }
        const __m512bh first = pairs_at(place), second = pairs_at(place + TILE_SIZE);
#pragma GCC unroll 8
        for (int row = 0; row < R; ++row) {
          int both;
          std::memcpy(&both, left + row * stride + at * PANEL + 2 * pair, sizeof both);
          const __m512bh factor = (__m512bh)_mm512_set1_epi32(both);
          low[panel][row] = _mm512_dpbf16_ps(low[panel][row], factor, first);
          high[panel][row] = _mm512_dpbf16_ps(high[panel][row], factor, second);
        }
      }
#pragma GCC unroll 4
  for (int panel = 0; panel < PANELS; ++panel)
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row, sums += PANEL) {
      _mm512_store_ps(sums, low[panel][row]);
      _mm512_store_ps(sums + TILE, high[panel][row]);
    }
}

// sums (rows, PANEL) = left (rows, depth) * panel (depth, PANEL)
template <typename Weight>
FOR_PAIRS INLINE void pairs_of_block(const bf16* left, int64_t stride, int64_t rows, const Weight* panel, int64_t depth_tiles,
                                     float* sums) {
  int64_t row = 0;
  for (; row + 8 <= rows; row += 8) pairs_of_rows<8, 1>(left + row * stride, stride, panel, depth_tiles, sums + row * PANEL);
  for (; row + 4 <= rows; row += 4) pairs_of_rows<4, 1>(left + row * stride, stride, panel, depth_tiles, sums + row * PANEL);
  for (; row < rows; ++row) pairs_of_rows<1, 1>(left + row * stride, stride, panel, depth_tiles, sums + row * PANEL);
}

// A panel of levels as numbers, for rows that pass over them more than once. What is asked for twice in a row is there already.
class Widened {
 public:
  Widened(const Matrix<bf16>& matrix, bf16* room) : matrix_(matrix), room_(room) {}

  FOR_PAIRS const bf16* panel(int64_t number) {
    if (number != there_) {
      const int8_t* levels = matrix_.panel_of_levels(number);
      for (int64_t at = 0; at < matrix_.panel_size(); at += PANEL) {
        if (at % 64 == 0) _mm_prefetch(reinterpret_cast<const char*>(levels + at + AHEAD), _MM_HINT_T0);
        _mm512_store_si512(room_ + at, (__m512i)pairs_at(levels + at));
      }
      there_ = number;
    }
    return room_;
  }

 private:
  const Matrix<bf16>& matrix_;
  bf16* room_;
  int64_t there_ = -1;
};

// Sums of rows with a panel go where they are wanted.
FOR_PAIRS INLINE void finish(float* sums, int64_t first, int64_t rows, int64_t panel, const Matrix<bf16>& matrix, const Target& target) {
  if (matrix.has_levels()) {
    const float* scales = matrix.scales_of(panel);
    for (int64_t row = 0; row < rows; ++row)
#pragma omp simd
      for (int64_t column = 0; column < PANEL; ++column) sums[row * PANEL + column] *= scales[column];
  }
  deliver<bf16>(sums, first, rows, panel, matrix.columns, target);
}

FOR_TILES void multiply_by_tiles(const Team& team, const Rows<bf16>& rows, int64_t count, const Matrix<bf16>& matrix,
                                 const Target& target, bf16* room) {
  alignas(64) float sums[BLOCK * PANEL];
  // Other libraries set shapes of their own on this thread.
  _tile_loadconfig(&SHAPES);
  const int64_t depth_tiles = up_to(matrix.depth, PANEL) / PANEL;
  const Units units(team, count, matrix.panels());
  Widened widened(matrix, room);
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    const int64_t panel = units.panel(unit);
    const bf16* right = matrix.has_levels() ? widened.panel(panel) : matrix.panel(panel);
    for (int64_t first = units.first_row(unit); first < units.end_row(unit); first += BLOCK) {
      const int64_t some = std::min(BLOCK, units.end_row(unit) - first);
      (some > TILE ? tiles_of_32_rows : tiles_of_16_rows)(rows.row(first), rows.stride, right, depth_tiles, sums);
      finish(sums, first, some, panel, matrix, target);
    }
  }
  _tile_release();
}

// Panels of levels that one row is multiplied with at once.
constexpr int64_t SIDE_BY_SIDE = 4;
// Rows that take levels from memory into registers; more pass over levels that were widened. The sums are the same.
constexpr int64_t FEW_ROWS = 16;

template <typename Weight>
FOR_PAIRS INLINE void pairs_of_panel(const Rows<bf16>& rows, int64_t begin, int64_t end, const Matrix<bf16>& matrix, int64_t panel,
                                     const Weight* numbers, const Target& target) {
  alignas(64) float sums[BLOCK * PANEL];
  const int64_t depth_tiles = up_to(matrix.depth, PANEL) / PANEL;
  for (int64_t first = begin; first < end; first += BLOCK) {
    const int64_t some = std::min(BLOCK, end - first);
    pairs_of_block(rows.row(first), rows.stride, some, numbers, depth_tiles, sums);
    finish(sums, first, some, panel, matrix, target);
  }
}

FOR_PAIRS INLINE void pairs_of_one_row(const bf16* row, const Matrix<bf16>& matrix, int64_t panel, const Target& target) {
  alignas(64) float sums[SIDE_BY_SIDE * PANEL];
  pairs_of_rows<1, SIDE_BY_SIDE>(row, 0, matrix.panel_of_levels(panel), up_to(matrix.depth, PANEL) / PANEL, sums);
  for (int64_t at = 0; at < SIDE_BY_SIDE; ++at) finish(sums + at * PANEL, 0, 1, panel + at, matrix, target);
}

FOR_PAIRS void multiply_by_pairs(const Team& team, const Rows<bf16>& rows, int64_t count, const Matrix<bf16>& matrix,
                                 const Target& target, bf16* room) {
  const Units units(team, count, matrix.panels());
  Widened widened(matrix, room);
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    const int64_t panel = units.panel(unit), begin = units.first_row(unit), end = units.end_row(unit);
    if (matrix.has_levels() && count == 1 && unit + SIDE_BY_SIDE <= units.end) {
      pairs_of_one_row(rows.row(0), matrix, panel, target);
      unit += SIDE_BY_SIDE - 1;
    } else if (!matrix.has_levels()) {
      pairs_of_panel(rows, begin, end, matrix, panel, matrix.panel(panel), target);
    } else if (end - begin <= FEW_ROWS) {
      pairs_of_panel(rows, begin, end, matrix, panel, matrix.panel_of_levels(panel), target);
    } else {
      pairs_of_panel(rows, begin, end, matrix, panel, widened.panel(panel), target);
    }
  }
}

// Whether the kernel lets this process use tiles; asking again changes nothing.
bool may_use_tiles() {
  constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

// What functions `FOR_PAIRS` are compiled for.
bool has_pairs() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}

Way find_way() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!has_pairs()) return Way::NONE;
  constexpr unsigned AMX_BF16 = 1u << 22, AMX_TILE = 1u << 24;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return Way::PAIRS;
  const bool has_tiles = (d & AMX_BF16) && (d & AMX_TILE);
  return has_tiles && may_use_tiles() ? Way::TILES : Way::PAIRS;
}

}  // namespace

Way way_of_processor() {
  static const Way way = find_way();
  return way;
}

void multiply(const Team& team, const Rows<bf16>& rows, int64_t count, const Matrix<bf16>& matrix, const Target& target, bf16* widened,
              Way way) {
  (way == Way::TILES ? multiply_by_tiles : multiply_by_pairs)(team, rows, count, matrix, target, widened);
}
#else
Way way_of_processor() { return Way::NONE; }

// Nobody prepacks bf16 where there is no way to multiply it.
void multiply(const Team&, const Rows<bf16>&, int64_t, const Matrix<bf16>&, const Target&, bf16*, Way) {}
#endif
