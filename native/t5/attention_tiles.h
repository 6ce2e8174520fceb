// Attention of a head of a short sequence to itself, by tiles.
#pragma once

#include "matrix.h"

// Queries, keys and values of one head: rows that are `step` numbers apart, those of what comes out `step_out`.
struct HeadOfSequence {
  const bf16 *queries, *keys, *values;
  int64_t step, tokens, width;
  // Added to the score of a key by its distance from the query; this is distance 0, keys after the query lie behind it.
  const float* bias;
  bf16* out;
  int64_t step_out;
};

// Numbers of fp32 that it needs room for.
int64_t room_for_tiles(int64_t tokens, int64_t width);

// While it lives, this thread's tiles have the shapes that heads want. Where the processor has no tiles it is nothing. Other libraries
// set shapes of their own on the same thread, so it does not outlive a stretch of heads.
struct ShapedTiles {
  ShapedTiles();
  ~ShapedTiles();
  ShapedTiles(const ShapedTiles&) = delete;
};

// Only where the processor multiplies by tiles, and while they are shaped.
void attend_by_tiles(const HeadOfSequence& head, float* room);
