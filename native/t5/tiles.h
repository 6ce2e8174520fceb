// AMX: tiles of 16 rows of 32 numbers in bf16, and of 16 rows of 16 sums in fp32.
#pragma once

#if defined(__x86_64__) && defined(__linux__)
#define HAS_TILES 1

#include <immintrin.h>

#include "matrix.h"

#define FOR_PAIRS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))
#define FOR_TILES __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16")))

// Numbers of a tile.
constexpr int64_t TILE_SIZE = TILE * PANEL;

struct alignas(64) TileShapes {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Never on the stack: the compiler thinks that only its first bytes are read.
constexpr TileShapes SHAPES;
#endif
