// Products in bf16, summed in fp32: by tiles where the processor has AMX, by pairs where it has AVX-512's bf16 instructions.
#include "deliver.h"

#include "tiles.h"

#ifdef HAS_TILES
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

// How far ahead the weights of few rows are asked for: they come from memory, once a step.
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

FOR_TILES void multiply_by_tiles(const Team& team, const Rows<bf16>& rows, int64_t count, const Matrix<bf16>& matrix,
                             const Target& target) {
  alignas(64) float sums[BLOCK * PANEL];
  // Other libraries set shapes of their own on this thread.
  _tile_loadconfig(&SHAPES);
  const int64_t depth_tiles = up_to(matrix.depth, PANEL) / PANEL;
  const Units units(team, count, matrix.panels());
  for (int64_t unit = units.begin; unit < units.end; ++unit)
    for (int64_t first = units.first_row(unit); first < units.end_row(unit); first += BLOCK) {
      const int64_t panel = units.panel(unit), some = std::min(BLOCK, units.end_row(unit) - first);
      if (some > TILE) {
        tiles_of_32_rows(rows.row(first), rows.stride, matrix.panel(panel), depth_tiles, sums);
      } else {
        tiles_of_16_rows(rows.row(first), rows.stride, matrix.panel(panel), depth_tiles, sums);
      }
      deliver<bf16>(sums, first, some, panel, matrix.columns, target);
    }
  _tile_release();
}

// sums (R, PANEL) = left (R, depth) * panel (depth, PANEL)
template <int R>
FOR_PAIRS INLINE void pairs_of_rows(const bf16* left, int64_t stride, const bf16* panel, int64_t depth_tiles, float* sums) {
  __m512 low[R], high[R];
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row) low[row] = high[row] = _mm512_setzero_ps();
  for (int64_t at = 0; at < depth_tiles; ++at, panel += 2 * TILE_SIZE)
    for (int64_t pair = 0; pair < TILE; ++pair) {
      const __m512bh first = (__m512bh)_mm512_load_si512(panel + pair * PANEL);
      const __m512bh second = (__m512bh)_mm512_load_si512(panel + TILE_SIZE + pair * PANEL);
#pragma GCC unroll 8
      for (int row = 0; row < R; ++row) {
        int both;
        std::memcpy(&both, left + row * stride + at * PANEL + 2 * pair, sizeof both);
        const __m512bh factor = (__m512bh)_mm512_set1_epi32(both);
        low[row] = _mm512_dpbf16_ps(low[row], factor, first);
        high[row] = _mm512_dpbf16_ps(high[row], factor, second);
      }
    }
#pragma GCC unroll 8
  for (int row = 0; row < R; ++row) {
    _mm512_store_ps(sums + row * PANEL, low[row]);
    _mm512_store_ps(sums + row * PANEL + TILE, high[row]);
  }
}

FOR_PAIRS void multiply_by_pairs(const Team& team, const Rows<bf16>& rows, int64_t count, const Matrix<bf16>& matrix,
                             const Target& target) {
  alignas(64) float sums[BLOCK * PANEL];
  const int64_t depth_tiles = up_to(matrix.depth, PANEL) / PANEL;
  const Units units(team, count, matrix.panels());
  for (int64_t unit = units.begin; unit < units.end; ++unit)
    for (int64_t first = units.first_row(unit); first < units.end_row(unit); first += BLOCK) {
      const int64_t panel = units.panel(unit), some = std::min(BLOCK, units.end_row(unit) - first);
      const bf16 *left = rows.row(first), *right = matrix.panel(panel);
      int64_t row = 0;
      for (; row + 8 <= some; row += 8)
        pairs_of_rows<8>(left + row * rows.stride, rows.stride, right, depth_tiles, sums + row * PANEL);
      for (; row + 4 <= some; row += 4)
        pairs_of_rows<4>(left + row * rows.stride, rows.stride, right, depth_tiles, sums + row * PANEL);
      for (; row < some; ++row) pairs_of_rows<1>(left + row * rows.stride, rows.stride, right, depth_tiles, sums + row * PANEL);
      deliver<bf16>(sums, first, some, panel, matrix.columns, target);
    }
}

// Whether the kernel lets this process use tiles; asking again changes nothing.
bool may_use_tiles() {
  constexpr long REQUEST_PERMISSION = 0x1023, TILE_DATA = 18;
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

Way find_way() {
  __builtin_cpu_init();
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512dq")) return Way::NONE;
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

void multiply(const Team& team, const Rows<bf16>& rows, int64_t count, const Matrix<bf16>& matrix, const Target& target, Way way) {
  (way == Way::TILES ? multiply_by_tiles : multiply_by_pairs)(team, rows, count, matrix, target);
}
#else
Way way_of_processor() { return Way::NONE; }

// Nobody prepacks bf16 where there is no way to multiply it.
void multiply(const Team&, const Rows<bf16>&, int64_t, const Matrix<bf16>&, const Target&, Way) {}
#endif
