// A network from a T5's tensors.
#pragma once

#include "../shim.h"
#include "network.h"

// The tensors of a T5 in this order: the embedding; the output layer, or null where it is the embedding; the final norms of encoder
// and decoder; the biases by distance of both (heads, distances) in fp32. Then of each encoder layer: norm, q, k, v, o; norm, wi or
// wi_0, wi_1 or null, wo. And of each decoder layer: norm, q, k, v, o; norm, q, k, v, o of its look at the input; and the same end.
// All but the biases are of one kind, contiguous, on the processor. Counts must be right; shapes are checked.
template <typename Number>
Network<Number> prepack_network(const Sizes& sizes, const Tensor* const* tensors, int64_t encoder_layers, int64_t decoder_layers);
