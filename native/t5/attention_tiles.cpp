// A head's attention by tiles: scores of 16 queries with all keys, their shares, and the mix of the values.
#include "attention_tiles.h"

#include "../softmax.h"
#include "product.h"
#include "tiles.h"

namespace {

constexpr int64_t QUERIES = TILE;

// Keys as tiles: (keys / 16, width / 32, 16 pairs, 16 keys, 2).
int64_t size_of_keys(int64_t tokens, int64_t width) { return up_to(tokens, TILE) * up_to(width, PANEL); }
// Values as tiles: (width / 16, keys / 32, 16 pairs of keys, 16 columns, 2).
int64_t size_of_values(int64_t tokens, int64_t width) { return up_to(tokens, PANEL) * up_to(width, TILE); }
// Scores of 16 queries in fp32, then their shares in bf16; sums of 16 queries; 16 queries.
int64_t score_step(int64_t tokens) { return up_to(tokens, PANEL); }

}  // namespace

int64_t room_for_tiles(int64_t tokens, int64_t width) {
  const int64_t halves = size_of_keys(tokens, width) + size_of_values(tokens, width) + QUERIES * score_step(tokens) +
                         QUERIES * up_to(width, PANEL);
  return halves / 2 + QUERIES * score_step(tokens) + TILE * TILE + 16 * 4;
}

#ifdef HAS_TILES
namespace {

// Two numbers of bf16.
INLINE uint32_t pair_at(const bf16* place) {
  uint32_t both;
  std::memcpy(&both, place, sizeof both);
  return both;
}

INLINE void tile_keys(const HeadOfSequence& head, int64_t width, bf16* to) {
  const int64_t keys = up_to(head.tokens, TILE), depth_tiles = width / PANEL;
  std::memset(to, 0, keys * width * sizeof(bf16));
  for (int64_t key = 0; key < head.tokens; ++key)
    for (int64_t at = 0; at + 1 < head.width; at += 2) {
      const int64_t tile = key / TILE * depth_tiles + at / PANEL;
      const uint32_t both = pair_at(head.keys + key * head.step + at);
      std::memcpy(to + tile * TILE_SIZE + (at % PANEL / 2 * TILE + key % TILE) * 2, &both, sizeof both);
    }
}

INLINE void tile_values(const HeadOfSequence& head, bf16* to) {
  const int64_t keys = up_to(head.tokens, PANEL), columns = up_to(head.width, TILE);
  std::memset(to, 0, keys * columns * sizeof(bf16));
  for (int64_t key = 0; key < head.tokens; ++key)
    for (int64_t column = 0; column < head.width; column += TILE) {
      bf16* tile = to + (column / TILE * (keys / PANEL) + key / PANEL) * TILE_SIZE + key % PANEL / 2 * PANEL + key % 2;
      const bf16* from = head.values + key * head.step + column;
      const int64_t count = std::min(TILE, head.width - column);
      for (int64_t at = 0; at < count; ++at) tile[at * 2] = from[at];
    }
}

FOR_TILES void attend_tiles(const HeadOfSequence& head, float* room) {
  const int64_t width = up_to(head.width, PANEL), step = score_step(head.tokens), keys = up_to(head.tokens, TILE);
  float* scores = room;
  float* sums = scores + QUERIES * step;
  bf16* shares = reinterpret_cast<bf16*>(sums + TILE * TILE);
  bf16* queries = shares + QUERIES * step;
  bf16* tiled_keys = queries + QUERIES * width;
  bf16* tiled_values = tiled_keys + size_of_keys(head.tokens, head.width);
  tile_keys(head, width, tiled_keys);
  tile_values(head, tiled_values);
  std::memset(queries, 0, QUERIES * width * sizeof(bf16));
  for (int64_t first = 0; first < head.tokens; first += QUERIES) {
    const int64_t rows = std::min(QUERIES, head.tokens - first);
    for (int64_t row = 0; row < rows; ++row)
      std::memcpy(queries + row * width, head.queries + (first + row) * head.step, head.width * sizeof(bf16));
    for (int64_t key = 0; key < keys; key += TILE) {
      _tile_zero(0);
      for (int64_t at = 0; at < width; at += PANEL) {
        _tile_loadd(4, queries + at, width * 2);
        _tile_loadd(6, tiled_keys + key * width + at * TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
      }
      _tile_stored(0, scores + key, step * 4);
    }
    for (int64_t row = 0; row < rows; ++row) {
      float* own = scores + row * step;
      share_out(own, head.bias - (first + row), head.tokens);
      for (int64_t key = head.tokens; key < step; ++key) own[key] = 0.0f;
#pragma omp simd
      for (int64_t key = 0; key < step; ++key) store(shares + row * step + key, own[key]);
    }
    for (int64_t column = 0; column < head.width; column += TILE) {
      _tile_zero(0);
      for (int64_t key = 0; key < step; key += PANEL) {
        _tile_loadd(4, shares + key, step * 2);
        _tile_loadd(6, tiled_values + (column / TILE * (step / PANEL) + key / PANEL) * TILE_SIZE, 64);
        _tile_dpbf16ps(0, 4, 6);
      }
      _tile_stored(0, sums, TILE * 4);
      const int64_t count = std::min(TILE, head.width - column);
      for (int64_t row = 0; row < rows; ++row) {
        bf16* out = head.out + (first + row) * head.step_out + column;
#pragma omp simd
        for (int64_t at = 0; at < count; ++at) store(out + at, sums[row * TILE + at]);
      }
    }
  }
}

FOR_TILES void load_shapes() { _tile_loadconfig(&SHAPES); }

FOR_TILES void release_shapes() { _tile_release(); }

}  // namespace

ShapedTiles::ShapedTiles() {
  if (way_of_processor() == Way::TILES) load_shapes();
}

ShapedTiles::~ShapedTiles() {
  if (way_of_processor() == Way::TILES) release_shapes();
}

void attend_by_tiles(const HeadOfSequence& head, float* room) {
  attend_tiles(head, reinterpret_cast<float*>(up_to(reinterpret_cast<int64_t>(room), 64)));
}
#else
ShapedTiles::ShapedTiles() = default;
ShapedTiles::~ShapedTiles() = default;

void attend_by_tiles(const HeadOfSequence&, float*) {}
#endif
