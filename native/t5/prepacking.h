// A network from a T5's tensors, a layer at a time, so that its caller lets go of each layer's tensors before the next are copied.
#pragma once

#include "../shim.h"
#include "network.h"

// All tensors but the biases are of one kind, contiguous, on the processor. Each must be there unless null is said to stand for
// something; shapes are checked.

// What stands before and after the layers, which are to come and whose matrices will be kept as `storage` says: the embedding; the output
// layer, or null where it is the embedding; the final norms of encoder and decoder; the biases by distance of both (heads, distances)
// in fp32.
template <typename Number>
Network<Number> prepack_ends(const Sizes& sizes, Storage storage, const Tensor* const* tensors);

// The next layer of the encoder: norm, q, k, v, o; norm, wi or wi_0, wi_1 or null where nothing is gated, wo.
template <typename Number>
void prepack_encoder_layer(Network<Number>& network, const Tensor* const* tensors);

// The next layer of the decoder: norm, q, k, v, o; norm, q, k, v, o of its look at the input; and the same end.
template <typename Number>
void prepack_decoder_layer(Network<Number>& network, const Tensor* const* tensors);
