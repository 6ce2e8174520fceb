// A pass through the encoder.
#include "../attention.h"
#include "attention_tiles.h"
#include "network.h"

namespace {

using attention::Piece;
using attention::Shape;

// The biases of sequences of at most so many tokens on themselves: (heads, 2 * longest - 1), from the farthest key before a query on.
std::vector<float> bias_within(const Sizes& sizes, const std::vector<float>& by_distance, int64_t longest) {
  const int64_t kept = 2 * sizes.farthest + 1, wanted = 2 * longest - 1;
  std::vector<float> bias(sizes.heads * wanted);
  for (int64_t head = 0; head < sizes.heads; ++head)
    for (int64_t at = 0; at < wanted; ++at) {
      const int64_t distance = std::clamp(at - (longest - 1), -sizes.farthest, sizes.farthest);
      bias[head * wanted + at] = by_distance[head * kept + distance + sizes.farthest];
    }
  return bias;
}

std::vector<Piece> pieces(const int64_t* starts, int64_t sequences, int64_t heads) {
  std::vector<Piece> found;
  for (int64_t head = 0; head < heads; ++head)
    for (int64_t at = 0; at < sequences; ++at) {
      const int64_t tokens = starts[at + 1] - starts[at];
      found.push_back({head, starts[at], tokens, starts[at], tokens, 0});
    }
  return found;
}

// One head of one sequence: queries, keys and values are `inner` numbers apart.
template <typename Number>
void attend(const Shape& shape, const Piece& piece, const Number* projected, int64_t inner, const float* bias, Number* out,
            float* log_sums, std::vector<float>& scratch) {
  if constexpr (std::is_same_v<Number, bf16>) {
    // A head of odd width has no pairs.
    if (way_of_processor() == Way::TILES && shape.width % 2 == 0) {
      const bf16* queries = projected + piece.query_start * shape.step_q + piece.head * shape.width;
      const float* own_bias = bias + piece.head * shape.distances + shape.zero;
      attend_by_tiles({queries, queries + inner, queries + 2 * inner, shape.step_q, piece.queries, shape.width, own_bias,
                       out + piece.query_start * shape.step_out + piece.head * shape.width, shape.step_out},
                      scratch.data());
      return;
    }
  }
  attention::attend_of(shape, piece, projected, projected + inner, projected + 2 * inner, bias, out, log_sums, scratch);
}

// This member's share of the pieces of work.
template <typename Number>
void attend_share(const Team& team, const Shape& shape, const std::vector<Piece>& work, const std::vector<float>& bias,
                  Desk<Number>& desk, int64_t count, std::vector<float>& log_sums) {
  const ShapedTiles tiles;
  const auto [begin, end] = team.share(static_cast<int64_t>(work.size()));
  for (int64_t at = begin; at < end; ++at)
    attend(shape, work[at], desk.projected.row(0), shape.heads * shape.width, bias.data(), desk.mixed.row(0),
           log_sums.data() + work[at].head * count, desk.scores[team.member]);
}

}  // namespace

template <typename Number>
void encode(const Network<Number>& network, Desk<Number>& desk, int64_t threads, const int64_t* tokens, const int64_t* starts,
            int64_t sequences, Number* const* outs) {
  const Sizes& sizes = network.sizes;
  const int64_t count = starts[sequences];
  int64_t longest = 1;
  for (int64_t at = 0; at < sequences; ++at) longest = std::max(longest, starts[at + 1] - starts[at]);
  const std::vector<float> bias = bias_within(sizes, network.encoder_bias, longest);
  const std::vector<Piece> work = pieces(starts, sequences, sizes.heads);
  desk.hold(count);
  // What a piece of attention needs, and a log-sum-exp for each row, which nobody reads.
  desk.hold_scores(threads, std::max(attention::scratch_size(sizes.d_kv, longest), room_for_tiles(longest, sizes.d_kv)));
  desk.hold_panels(threads, network.storage);
  std::vector<float> log_sums(sizes.heads * count);
  const Shape shape{sizes.heads, sizes.d_kv, desk.projected.stride, desk.projected.stride, desk.mixed.stride,
                    longest - 1, 2 * longest - 1, false, Dropout::of(0.0, 0)};
  in_team(threads, [&](const Team& team) {
    embed(team, network, tokens, count, desk.hidden);
    team.meet();
    for (const EncoderLayer<Number>& layer : network.encoder) {
      norm_rows(team, desk.hidden, count, layer.norm, sizes.epsilon, desk.normed.row(0), desk.normed.stride);
      team.meet();
      desk.multiply(team, desk.normed, count, layer.projections, {Become::NUMBERS, desk.projected.row(0), desk.projected.stride});
      team.meet();
      attend_share(team, shape, work, bias, desk, count, log_sums);
      team.meet();
      desk.multiply(team, desk.mixed, count, layer.out, {Become::ADDED, desk.hidden.row(0), desk.hidden.stride});
      team.meet();
      feed(team, network, layer.feed_forward, desk, count);
    }
    norm_rows(team, desk.hidden, count, network.encoder_norm, sizes.epsilon, desk.normed.row(0), desk.normed.stride);
    team.meet();
    const auto [begin, end] = team.share(sequences);
    for (int64_t at = begin; at < end; ++at)
      for (int64_t row = starts[at]; row < starts[at + 1]; ++row)
        std::copy_n(desk.normed.row(row), sizes.d_model, outs[at] + (row - starts[at]) * sizes.d_model);
  });
}

#define FOR_KIND(Number) \
  template void encode(const Network<Number>&, Desk<Number>&, int64_t, const int64_t*, const int64_t*, int64_t, Number* const*);

FOR_KIND(float)
FOR_KIND(bf16)
#undef FOR_KIND
