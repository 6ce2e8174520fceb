// Passes through the decoder.
#include "decoder.h"

namespace {

// The cross-attention and the feed-forward layer, after a layer's attention to what was said. `input_of` gives a row's input.
template <typename Number, typename InputOf>
void after_self_attention(const Team& team, const Network<Number>& network, int64_t number, Desk<Number>& desk, int64_t count,
                          const InputOf& input_of) {
  const Sizes& sizes = network.sizes;
  const DecoderLayer<Number>& layer = network.decoder[number];
  desk.multiply(team, desk.mixed, count, layer.out, {Become::ADDED, desk.hidden.row(0), desk.hidden.stride});
  team.meet();
  norm_rows(team, desk.hidden, count, layer.cross_norm, sizes.epsilon, desk.normed.row(0), desk.normed.stride);
  team.meet();
  desk.multiply(team, desk.normed, count, layer.cross_queries, {Become::NUMBERS, desk.projected.row(0), desk.projected.stride});
  team.meet();
  const auto [begin, end] = team.share(count * sizes.heads);
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t row = unit / sizes.heads, head = unit % sizes.heads, column = head * sizes.d_kv;
    const Input<Number>& input = input_of(row);
    float* scores = desk.scores[team.member].data();
    std::fill_n(scores, padded(input.tokens), 0.0f);
    look_at(desk.projected.row(row) + column, sizes.d_kv, input.seen.head(number, head), input.tokens, scores,
            desk.mixed.row(row) + column);
  }
  team.meet();
  desk.multiply(team, desk.mixed, count, layer.cross_out, {Become::ADDED, desk.hidden.row(0), desk.hidden.stride});
  team.meet();
  feed(team, network, layer.feed_forward, desk, count);
}

// The layers: `self_look(team, layer's number, row, head)` turns a row's projections into what it finds in what was said.
template <typename Number, typename InputOf, typename SelfLook>
void through_layers(const Network<Number>& network, Desk<Number>& desk, int64_t threads, const int64_t* tokens, int64_t count,
                    const InputOf& input_of, const SelfLook& self_look) {
  const Sizes& sizes = network.sizes;
  desk.hold_panels(threads, network.storage);
  in_team(threads, [&](const Team& team) {
    embed(team, network, tokens, count, desk.hidden);
    team.meet();
    for (int64_t number = 0; number < static_cast<int64_t>(network.decoder.size()); ++number) {
      const DecoderLayer<Number>& layer = network.decoder[number];
      norm_rows(team, desk.hidden, count, layer.norm, sizes.epsilon, desk.normed.row(0), desk.normed.stride);
      team.meet();
      desk.multiply(team, desk.normed, count, layer.projections, {Become::NUMBERS, desk.projected.row(0), desk.projected.stride});
      team.meet();
      const auto [begin, end] = team.share(count * sizes.heads);
      for (int64_t unit = begin; unit < end; ++unit) self_look(team, number, unit / sizes.heads, unit % sizes.heads);
      team.meet();
      after_self_attention(team, network, number, desk, count, input_of);
    }
    norm_rows(team, desk.hidden, count, network.decoder_norm, sizes.epsilon, desk.normed.row(0), desk.normed.stride);
  });
}

// The bias of a head for keys 0 to `position`, oldest first, for a query at `position`.
void bias_until(const Sizes& sizes, const std::vector<float>& by_distance, int64_t head, int64_t position, float* scores) {
  const float* bias = by_distance.data() + head * (sizes.farthest + 1);
  for (int64_t key = 0; key <= position; ++key) scores[key] = bias[std::min(position - key, sizes.farthest)];
}

template <typename Number>
void make_room(const Network<Number>& network, Answer<Number>& answer) {
  if (answer.said && answer.length < answer.said->capacity()) return;
  const int64_t capacity = answer.said ? 2 * answer.said->capacity() : std::max<int64_t>(answer.expected, 1);
  auto larger = std::make_unique<Kept<Number>>(network.sizes, static_cast<int64_t>(network.decoder.size()), capacity);
  if (answer.said) larger->copy(*answer.said, answer.length);
  answer.said = std::move(larger);
}

}  // namespace

template <typename Number>
std::vector<std::shared_ptr<const Input<Number>>> read(const Network<Number>& network, Desk<Number>& desk, int64_t threads,
                                                       const std::vector<const Number*>& encoded,
                                                       const std::vector<int64_t>& lengths) {
  const Sizes& sizes = network.sizes;
  const int64_t layers = static_cast<int64_t>(network.decoder.size()), inner = sizes.inner();
  std::vector<std::shared_ptr<Input<Number>>> inputs;
  std::vector<int64_t> starts{0};
  for (const int64_t length : lengths) {
    inputs.push_back(std::make_shared<Input<Number>>(Input<Number>{Kept<Number>(sizes, layers, length), length}));
    starts.push_back(starts.back() + length);
  }
  const int64_t count = starts.back(), units = static_cast<int64_t>(inputs.size());
  desk.normed.hold(count);
  desk.seen.hold(count);
  desk.hold_panels(threads, network.storage);
  in_team(threads, [&](const Team& team) {
    const auto [begin, end] = team.share(units);
    for (int64_t at = begin; at < end; ++at)
      for (int64_t row = 0; row < lengths[at]; ++row)
        std::copy_n(encoded[at] + row * sizes.d_model, sizes.d_model, desk.normed.row(starts[at] + row));
    team.meet();
    for (int64_t layer = 0; layer < layers; ++layer) {
      desk.multiply(team, desk.normed, count, network.decoder[layer].cross_seen, {Become::NUMBERS, desk.seen.row(0), desk.seen.stride});
      team.meet();
      const auto [first, last] = team.share(units * sizes.heads);
      for (int64_t unit = first; unit < last; ++unit) {
        const int64_t at = unit / sizes.heads, head = unit % sizes.heads;
        const Number* keys = desk.seen.row(starts[at]) + head * sizes.d_kv;
        inputs[at]->seen.put(layer, head, 0, keys, keys + inner, desk.seen.stride, lengths[at]);
      }
      team.meet();
    }
  });
  return {inputs.begin(), inputs.end()};
}

template <typename Number>
void step(const Network<Number>& network, Desk<Number>& desk, int64_t threads, std::vector<Answer<Number>>& answers,
          const int64_t* tokens) {
  const Sizes& sizes = network.sizes;
  const int64_t count = static_cast<int64_t>(answers.size()), inner = sizes.inner();
  int64_t most = 0;
  for (auto& answer : answers) {
    make_room(network, answer);
    most = std::max({most, answer.said->capacity(), answer.input->seen.capacity()});
  }
  desk.hold(count);
  desk.hold_scores(threads, most);
  const auto self_look = [&](const Team& team, int64_t layer, int64_t row, int64_t head) {
    Answer<Number>& answer = answers[row];
    const Number* query = desk.projected.row(row) + head * sizes.d_kv;
    float* scores = desk.scores[team.member].data();
    answer.said->put(layer, head, answer.length, query + inner, query + 2 * inner);
    bias_until(sizes, network.decoder_bias, head, answer.length, scores);
    look_at(query, sizes.d_kv, answer.said->head(layer, head), answer.length + 1, scores,
            desk.mixed.row(row) + head * sizes.d_kv);
  };
  through_layers(network, desk, threads, tokens, count, [&](int64_t row) -> const Input<Number>& { return *answers[row].input; },
                 self_look);
  for (auto& answer : answers) ++answer.length;
}

template <typename Number>
void pass_tree(const Network<Number>& network, Desk<Number>& desk, int64_t threads,
               const std::vector<std::shared_ptr<const Input<Number>>>& inputs, const Tree& tree) {
  const Sizes& sizes = network.sizes;
  const int64_t inner = sizes.inner();
  // The nodes on the way to each node, itself last.
  std::vector<std::vector<int64_t>> ways(tree.nodes);
  int64_t deepest = 1, most = 0;
  for (int64_t node = 0; node < tree.nodes; ++node) {
    if (tree.parents[node] >= 0) ways[node] = ways[tree.parents[node]];
    ways[node].push_back(node);
    deepest = std::max(deepest, static_cast<int64_t>(ways[node].size()));
    most = std::max(most, inputs[tree.inputs[node]]->seen.capacity());
  }
  // A way's keys and values side by side, as they are kept.
  std::vector<Kept<Number>> kept;
  Sizes one_head = sizes;
  one_head.heads = 1;
  for (int64_t member = 0; member < threads; ++member) kept.emplace_back(one_head, 1, deepest);
  desk.hold(tree.nodes);
  desk.hold_scores(threads, std::max(most, padded(deepest)));
  const auto self_look = [&](const Team& team, int64_t, int64_t row, int64_t head) {
    const std::vector<int64_t>& way = ways[row];
    const int64_t column = head * sizes.d_kv, length = static_cast<int64_t>(way.size());
    for (int64_t at = 0; at < length; ++at) {
      const Number* query = desk.projected.row(way[at]) + column;
      kept[team.member].put(0, 0, at, query + inner, query + 2 * inner);
    }
    float* scores = desk.scores[team.member].data();
    bias_until(sizes, network.decoder_bias, head, length - 1, scores);
    look_at(desk.projected.row(row) + column, sizes.d_kv, kept[team.member].head(0, 0), length, scores,
            desk.mixed.row(row) + column);
  };
  through_layers(network, desk, threads, tree.tokens, tree.nodes,
                 [&](int64_t row) -> const Input<Number>& { return *inputs[tree.inputs[row]]; }, self_look);
}

#define FOR_KIND(Number)                                                                                                      \
  template std::vector<std::shared_ptr<const Input<Number>>> read(const Network<Number>&, Desk<Number>&, int64_t,            \
                                                                  const std::vector<const Number*>&,                         \
                                                                  const std::vector<int64_t>&);                              \
  template void step(const Network<Number>&, Desk<Number>&, int64_t, std::vector<Answer<Number>>&, const int64_t*);          \
  template void pass_tree(const Network<Number>&, Desk<Number>&, int64_t,                                                     \
                          const std::vector<std::shared_ptr<const Input<Number>>>&, const Tree&);

FOR_KIND(float)
FOR_KIND(bf16)
#undef FOR_KIND
