// A T5 that only answers, on a processor: its weights prepacked for products, and what a pass through it needs. One thread at a time
// may ask it; it computes with a team.
#pragma once

#include <memory>
#include <vector>

#include "look.h"
#include "product.h"

// The sizes of a T5.
struct Sizes {
  int64_t d_model, d_kv, heads, d_ff, vocabulary;
  Activation activation;
  // Distances before a query from which on all have one bias.
  int64_t farthest;
  float epsilon, output_scale;

  int64_t inner() const { return heads * d_kv; }
  // The greatest depth of a layer's product.
  int64_t deepest() const { return std::max({d_model, inner(), d_ff}); }
};

template <typename Number>
struct FeedForward {
  std::vector<float> norm;
  // Whether a second projection multiplies what the first one's activation gives.
  bool gated = false;
  Matrix<Number> in, out;
};

template <typename Number>
struct EncoderLayer {
  std::vector<float> norm;
  // Queries, keys and values of a token side by side.
  Matrix<Number> projections, out;
  FeedForward<Number> feed_forward;
};

template <typename Number>
struct DecoderLayer {
  std::vector<float> norm, cross_norm;
  Matrix<Number> projections, out;
  // Queries; keys and values side by side.
  Matrix<Number> cross_queries, cross_seen, cross_out;
  FeedForward<Number> feed_forward;
};

template <typename Number>
struct Network {
  Sizes sizes;
  // How the layers' matrices are kept. The output layer stays in numbers: of all levels, its change the most labels.
  Storage storage;
  // (vocabulary, d_model), somebody else's.
  const Number* embedding;
  std::vector<EncoderLayer<Number>> encoder;
  std::vector<DecoderLayer<Number>> decoder;
  std::vector<float> encoder_norm, decoder_norm;
  // Biases by distance of a head: the encoder's for a key from `farthest` before to `farthest` after a query; the decoder's for one
  // that is from 0 to `farthest` before.
  std::vector<float> encoder_bias, decoder_bias;
  Matrix<Number> output;
};

// What a pass writes on its way; kept from pass to pass.
template <typename Number>
struct Desk {
  Rows<float> hidden;
  Rows<Number> normed, projected, seen, mixed, inner;
  // Room of each member: for attention, and for a panel whose levels are widened.
  std::vector<std::vector<float>> scores;
  std::vector<Buffer<Number>> panels;

  explicit Desk(const Sizes& sizes)
      : hidden(sizes.d_model), normed(sizes.d_model), projected(3 * sizes.inner()), seen(2 * sizes.inner()),
        mixed(sizes.inner()), inner(sizes.d_ff), panel_size_(up_to(sizes.deepest(), PANEL) * PANEL) {}

  void hold(int64_t rows) {
    hidden.hold(rows);
    normed.hold(rows);
    projected.hold(rows);
    mixed.hold(rows);
    inner.hold(rows);
  }

  // So many numbers for each member.
  void hold_scores(int64_t members, int64_t count) {
    scores.resize(std::max<size_t>(scores.size(), members));
    for (auto& room : scores)
      if (static_cast<int64_t>(room.size()) < count) room.resize(count);
  }

  // A panel for each member. To be called before a team multiplies: nothing in it may throw.
  void hold_panels(int64_t members, Storage storage) {
    while (storage == Storage::LEVELS && static_cast<int64_t>(panels.size()) < members) panels.emplace_back(panel_size_);
  }

  // This member's share of a product of a layer.
  void multiply(const Team& team, const Rows<Number>& rows, int64_t count, const Matrix<Number>& matrix, const Target& target) {
    ::multiply(team, rows, count, matrix, target, matrix.has_levels() ? panels[team.member].begin() : nullptr);
  }

 private:
  int64_t panel_size_;
};

// This member's share of the rows: the embeddings of `tokens`.
template <typename Number>
void embed(const Team& team, const Network<Number>& network, const int64_t* tokens, int64_t count, Rows<float>& hidden);

// This member's share of the rows, divided by their root mean squares and multiplied by `weight`.
template <typename Number>
void norm_rows(const Team& team, const Rows<float>& rows, int64_t count, const std::vector<float>& weight, float epsilon,
               Number* out, int64_t stride);

// rows += feed_forward(norm(rows)). Everybody has written their rows when it begins and when it ends.
template <typename Number>
void feed(const Team& team, const Network<Number>& network, const FeedForward<Number>& layer, Desk<Number>& desk, int64_t count) {
  const Sizes& sizes = network.sizes;
  norm_rows(team, desk.hidden, count, layer.norm, sizes.epsilon, desk.normed.row(0), desk.normed.stride);
  team.meet();
  const Become become = layer.gated ? Become::GATED : Become::ACTIVATED;
  desk.multiply(team, desk.normed, count, layer.in, {become, desk.inner.row(0), desk.inner.stride, sizes.activation});
  team.meet();
  desk.multiply(team, desk.inner, count, layer.out, {Become::ADDED, desk.hidden.row(0), desk.hidden.stride});
  team.meet();
}

// What the encoder makes of sequences that lie end to end, after its final norm: rows of d_model numbers, a sequence's after each other
// from `outs` on. `starts` (sequences + 1) says where each begins.
template <typename Number>
void encode(const Network<Number>& network, Desk<Number>& desk, int64_t threads, const int64_t* tokens, const int64_t* starts,
            int64_t sequences, Number* const* outs);
