// Weights on their way from tensors into panels.
#include "prepacking.h"

namespace {

// Takes the tensors one after the other, checking each one's shape.
template <typename Number>
class Reader {
 public:
  Reader(const Sizes& sizes, const Tensor* const* tensors) : sizes_(sizes), next_(tensors) {}

  const Tensor* take() { return *next_++; }

  const Number* matrix(int64_t columns, int64_t depth) {
    const Tensor* tensor = take();
    if (!tensor) return nullptr;
    check_sizes(*tensor, {columns, depth}, "a weight");
    return data<Number>(*tensor);
  }

  std::vector<float> norm() {
    const Tensor* tensor = take();
    check_sizes(*tensor, {sizes_.d_model}, "the weight of a norm");
    std::vector<float> weight(sizes_.d_model);
    for (int64_t at = 0; at < sizes_.d_model; ++at) weight[at] = load(data<Number>(*tensor) + at);
    return weight;
  }

  std::vector<float> bias(int64_t distances) {
    const Tensor* tensor = take();
    check_sizes(*tensor, {sizes_.heads, distances}, "a bias by distance");
    return {data<float>(*tensor), data<float>(*tensor) + tensor->numel()};
  }

  // Several weights as one, their columns after each other.
  Matrix<Number> side_by_side(int64_t weights, int64_t columns, int64_t depth) {
    std::vector<const Number*> all;
    for (int64_t weight = 0; weight < weights; ++weight) {
      const Number* from = matrix(columns, depth);
      for (int64_t column = 0; column < columns; ++column) all.push_back(from + column * depth);
    }
    return prepack(all, depth);
  }

  FeedForward<Number> feed_forward() {
    FeedForward<Number> layer;
    layer.norm = norm();
    const Number* in = matrix(sizes_.d_ff, sizes_.d_model);
    const Number* gate = matrix(sizes_.d_ff, sizes_.d_model);
    layer.in = gate ? gated(in, gate) : prepack(columns(in), sizes_.d_model);
    layer.out = side_by_side(1, sizes_.d_model, sizes_.d_ff);
    return layer;
  }

 private:
  std::vector<const Number*> columns(const Number* from) const {
    std::vector<const Number*> found;
    for (int64_t column = 0; column < sizes_.d_ff; ++column) found.push_back(from + column * sizes_.d_model);
    return found;
  }

  // Panels whose first half is activated and multiplies the second.
  Matrix<Number> gated(const Number* in, const Number* gate) const {
    const auto ins = columns(in), gates = columns(gate);
    std::vector<const Number*> both;
    for (int64_t first = 0; first < sizes_.d_ff; first += TILE)
      for (const auto& half : {ins, gates})
        for (int64_t column = first; column < first + TILE; ++column)
          both.push_back(column < sizes_.d_ff ? half[column] : nullptr);
    return prepack(both, sizes_.d_model);
  }

  const Sizes& sizes_;
  const Tensor* const* next_;
};

}  // namespace

template <typename Number>
Network<Number> prepack_network(const Sizes& sizes, const Tensor* const* tensors, int64_t encoder_layers, int64_t decoder_layers) {
  Network<Number> network;
  network.sizes = sizes;
  Reader<Number> reader(sizes, tensors);
  network.embedding = reader.matrix(sizes.vocabulary, sizes.d_model);
  const Number* output = reader.matrix(sizes.vocabulary, sizes.d_model);
  if (!output) output = network.embedding;
  std::vector<const Number*> columns;
  for (int64_t token = 0; token < sizes.vocabulary; ++token) columns.push_back(output + token * sizes.d_model);
  network.output = prepack(columns, sizes.d_model);
  network.encoder_norm = reader.norm();
  network.decoder_norm = reader.norm();
  network.encoder_bias = reader.bias(2 * sizes.farthest + 1);
  network.decoder_bias = reader.bias(sizes.farthest + 1);
  const int64_t width = sizes.d_model, inner = sizes.inner();
  for (int64_t number = 0; number < encoder_layers; ++number) {
    EncoderLayer<Number> layer;
    layer.norm = reader.norm();
    layer.projections = reader.side_by_side(3, inner, width);
    layer.out = reader.side_by_side(1, width, inner);
    layer.feed_forward = reader.feed_forward();
    network.encoder.push_back(std::move(layer));
  }
  for (int64_t number = 0; number < decoder_layers; ++number) {
    DecoderLayer<Number> layer;
    layer.norm = reader.norm();
    layer.projections = reader.side_by_side(3, inner, width);
    layer.out = reader.side_by_side(1, width, inner);
    layer.cross_norm = reader.norm();
    layer.cross_queries = reader.side_by_side(1, inner, width);
    layer.cross_seen = reader.side_by_side(2, inner, width);
    layer.cross_out = reader.side_by_side(1, width, inner);
    layer.feed_forward = reader.feed_forward();
    network.decoder.push_back(std::move(layer));
  }
  return network;
}

template Network<float> prepack_network(const Sizes&, const Tensor* const*, int64_t, int64_t);
template Network<bf16> prepack_network(const Sizes&, const Tensor* const*, int64_t, int64_t);
