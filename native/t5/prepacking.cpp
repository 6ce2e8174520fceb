// Weights on their way from tensors into panels.
#include "prepacking.h"

namespace {

// Takes the tensors one after the other, checking each one's shape.
template <typename Number>
class Reader {
 public:
  Reader(const Sizes& sizes, Storage storage, const Tensor* const* tensors)
      : sizes_(sizes), storage_(storage), tensors_(tensors) {}

  const Number* matrix(int64_t columns, int64_t depth) { return numbers(take("a weight"), columns, depth); }

  // Null where there is none.
  const Number* matrix_or_none(int64_t columns, int64_t depth) {
    const Tensor* tensor = take_optional();
    return tensor ? numbers(*tensor, columns, depth) : nullptr;
  }

  std::vector<float> norm() {
    const Tensor& tensor = take("the weight of a norm");
    check_sizes(tensor, {sizes_.d_model}, "the weight of a norm");
    std::vector<float> weight(sizes_.d_model);
    for (int64_t at = 0; at < sizes_.d_model; ++at) weight[at] = load(data<Number>(tensor) + at);
    return weight;
  }

  std::vector<float> bias(int64_t distances) {
    const Tensor& tensor = take("a bias by distance");
    check_sizes(tensor, {sizes_.heads, distances}, "a bias by distance");
    return {data<float>(tensor), data<float>(tensor) + tensor.numel()};
  }

  // Several weights as one, their columns after each other.
  Matrix<Number> side_by_side(int64_t weights, int64_t columns, int64_t depth) {
    std::vector<const Number*> all;
    for (int64_t weight = 0; weight < weights; ++weight) {
      const Number* from = matrix(columns, depth);
      for (int64_t column = 0; column < columns; ++column) all.push_back(from + column * depth);
    }
    return prepack(all, depth, storage_);
  }

  FeedForward<Number> feed_forward() {
    FeedForward<Number> layer;
    layer.norm = norm();
    const Number* in = matrix(sizes_.d_ff, sizes_.d_model);
    const Number* gate = matrix_or_none(sizes_.d_ff, sizes_.d_model);
    layer.gated = gate != nullptr;
    layer.in = gate ? gated(in, gate) : prepack(columns(in), sizes_.d_model, storage_);
    layer.out = side_by_side(1, sizes_.d_model, sizes_.d_ff);
    return layer;
  }

 private:
  const Tensor* take_optional() { return tensors_[next_++]; }

  const Tensor& take(const char* what) {
    const Tensor* tensor = take_optional();
    TORCH_CHECK(tensor && tensor->defined(), what, " is missing: tensor ", next_ - 1, " of its layer");
    return *tensor;
  }

  const Number* numbers(const Tensor& tensor, int64_t columns, int64_t depth) const {
    check_sizes(tensor, {columns, depth}, "a weight");
    return data<Number>(tensor);
  }

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
    return prepack(both, sizes_.d_model, storage_);
  }

  const Sizes& sizes_;
  Storage storage_;
  const Tensor* const* tensors_;
  int64_t next_ = 0;
};

}  // namespace

template <typename Number>
Network<Number> prepack_ends(const Sizes& sizes, Storage storage, const Tensor* const* tensors) {
  Network<Number> network;
  network.sizes = sizes;
  network.storage = storage;
  Reader<Number> reader(sizes, Storage::NUMBERS, tensors);
  network.embedding = reader.matrix(sizes.vocabulary, sizes.d_model);
  const Number* output = reader.matrix_or_none(sizes.vocabulary, sizes.d_model);
  if (!output) output = network.embedding;
  std::vector<const Number*> columns;
  for (int64_t token = 0; token < sizes.vocabulary; ++token) columns.push_back(output + token * sizes.d_model);
  network.output = prepack(columns, sizes.d_model, Storage::NUMBERS);
  network.encoder_norm = reader.norm();
  network.decoder_norm = reader.norm();
  network.encoder_bias = reader.bias(2 * sizes.farthest + 1);
  network.decoder_bias = reader.bias(sizes.farthest + 1);
  return network;
}

template <typename Number>
void prepack_encoder_layer(Network<Number>& network, const Tensor* const* tensors) {
  const int64_t width = network.sizes.d_model, inner = network.sizes.inner();
  Reader<Number> reader(network.sizes, network.storage, tensors);
  EncoderLayer<Number> layer;
  layer.norm = reader.norm();
  layer.projections = reader.side_by_side(3, inner, width);
  layer.out = reader.side_by_side(1, width, inner);
  layer.feed_forward = reader.feed_forward();
  network.encoder.push_back(std::move(layer));
}

template <typename Number>
void prepack_decoder_layer(Network<Number>& network, const Tensor* const* tensors) {
  const int64_t width = network.sizes.d_model, inner = network.sizes.inner();
  Reader<Number> reader(network.sizes, network.storage, tensors);
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

#define FOR_KIND(Number)                                                                   \
  template Network<Number> prepack_ends(const Sizes&, Storage, const Tensor* const*);      \
  template void prepack_encoder_layer(Network<Number>&, const Tensor* const*);             \
  template void prepack_decoder_layer(Network<Number>&, const Tensor* const*);

FOR_KIND(float)
FOR_KIND(bf16)
#undef FOR_KIND
