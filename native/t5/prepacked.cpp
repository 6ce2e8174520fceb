// A prepacked T5 over the passes of its network.
#include "prepacked.h"

#include "decoder.h"

namespace {

// How many tokens each row of a mask has; they come first.
std::vector<int64_t> lengths_of(const Tensor& mask) {
  TORCH_CHECK(mask.dim() == 2 && mask.scalar_type() == at::kBool, "a mask is (rows, length) of truths, not ", mask.toString(), " of ",
              mask.sizes());
  const Tensor sums = mask.sum(1, false, at::kLong).contiguous();
  return {data<int64_t>(sums), data<int64_t>(sums) + sums.numel()};
}

// Token ids, each of which has a row in the embedding.
const int64_t* checked_tokens(const Tensor& tokens, int64_t vocabulary) {
  const int64_t* ids = data<int64_t>(tokens);
  for (int64_t at = 0; at < tokens.numel(); ++at)
    TORCH_CHECK(ids[at] >= 0 && ids[at] < vocabulary, "token ", ids[at], " is outside of the vocabulary of ", vocabulary);
  return ids;
}

template <typename Number>
struct AnswersOf : Answers {
  std::vector<Answer<Number>> rows;
};

template <typename Number>
struct PrepackedOf : PrepackedT5 {
  PrepackedOf(const Sizes& sizes, Storage storage, const Tensor* const* ends)
      : network(prepack_ends<Number>(sizes, storage, ends)), desk(sizes), embedding(*ends[0]) {}

  void add_encoder_layer(const Tensor* const* tensors) override { prepack_encoder_layer(network, tensors); }
  void add_decoder_layer(const Tensor* const* tensors) override { prepack_decoder_layer(network, tensors); }

  Tensor encode(const Tensor& ids, const Tensor& mask) override {
    const auto lengths = lengths_of(mask);
    const int64_t rows = ids.size(0), longest = ids.size(1);
    check_sizes(mask, {rows, longest}, "the mask");
    const int64_t* tokens = checked_tokens(ids, network.sizes.vocabulary);
    Tensor out = at::zeros({rows, longest, network.sizes.d_model}, embedding.options());
    std::vector<int64_t> said, starts{0};
    std::vector<Number*> outs;
    for (int64_t row = 0; row < rows; ++row) {
      said.insert(said.end(), tokens + row * longest, tokens + row * longest + lengths[row]);
      starts.push_back(static_cast<int64_t>(said.size()));
      outs.push_back(data<Number>(out) + row * longest * network.sizes.d_model);
    }
    ::encode(network, desk, threads, said.data(), starts.data(), rows, outs.data());
    return out;
  }

  // Hidden states as rows of a product.
  int64_t take(const Tensor& hidden) {
    const int64_t count = hidden.size(0), width = network.sizes.d_model;
    check_sizes(hidden, {count, width}, "hidden states");
    const Number* from = data<Number>(hidden);
    desk.normed.hold(count);
    for (int64_t row = 0; row < count; ++row)
      for (int64_t at = 0; at < width; ++at)
        store(desk.normed.row(row) + at, load(from + row * width + at) * network.sizes.output_scale);
    return count;
  }

  Tensor logits(const Tensor& hidden) override {
    const int64_t count = take(hidden), vocabulary = network.sizes.vocabulary;
    Tensor out = at::empty({count, vocabulary}, embedding.options().dtype(at::kFloat));
    const Target target{Become::FLOATS, data<float>(out), vocabulary};
    in_team(threads, [&](const Team& team) { multiply(team, desk.normed, count, network.output, target); });
    return out;
  }

  Tensor likeliest(const Tensor& hidden, const Tensor& barred) override {
    const int64_t count = take(hidden), panels = network.output.panels();
    check_sizes(barred, {count}, "barred tokens");
    std::vector<Largest> parts(panels * count);
    const Target target{Become::LARGEST, parts.data(), count, Activation::RELU, data<int64_t>(barred)};
    in_team(threads, [&](const Team& team) { multiply(team, desk.normed, count, network.output, target); });
    Tensor out = at::empty({2, count}, embedding.options().dtype(at::kDouble));
    double* found = static_cast<double*>(out.data_ptr());
    for (int64_t row = 0; row < count; ++row) {
      Largest best = parts[row];
      for (int64_t panel = 1; panel < panels; ++panel) {
        const Largest& other = parts[panel * count + row];
        if (other.score > best.score || other.score != other.score) best = other;
      }
      found[row] = best.column;
      found[count + row] = best.score;
    }
    return out;
  }

  Tensor normalizers(const Tensor& hidden) override {
    const int64_t count = take(hidden), panels = network.output.panels();
    std::vector<float> parts(panels * count * 2);
    const Target target{Become::SUMMED, parts.data(), count};
    in_team(threads, [&](const Team& team) { multiply(team, desk.normed, count, network.output, target); });
    Tensor out = at::empty({count}, embedding.options().dtype(at::kFloat));
    for (int64_t row = 0; row < count; ++row) {
      const auto part = [&](int64_t panel) { return parts.data() + (panel * count + row) * 2; };
      float most = part(0)[0];
      for (int64_t panel = 1; panel < panels; ++panel) most = std::max(most, part(panel)[0]);
      double sum = 0.0;
      for (int64_t panel = 0; panel < panels; ++panel) sum += part(panel)[1] * exponential(part(panel)[0] - most);
      data<float>(out)[row] = most + static_cast<float>(std::log(sum));
    }
    return out;
  }

  Tensor logits_of(const Tensor& hidden, const Tensor& tokens) override {
    const int64_t count = take(hidden);
    check_sizes(tokens, {count}, "the tokens");
    const int64_t* ids = checked_tokens(tokens, network.sizes.vocabulary);
    Tensor out = at::empty({count}, embedding.options().dtype(at::kFloat));
    for (int64_t row = 0; row < count; ++row) {
      const Number* panel = network.output.panel(ids[row] / PANEL);
      float sum = 0.0f;
      for (int64_t at = 0; at < network.sizes.d_model; ++at)
        sum += load(desk.normed.row(row) + at) * load(panel + place_in_panel(panel, ids[row] % PANEL, at));
      data<float>(out)[row] = sum;
    }
    return out;
  }

  std::vector<std::shared_ptr<const Input<Number>>> read_grid(const Tensor& encoded, const Tensor& mask) {
    const auto lengths = lengths_of(mask);
    check_sizes(encoded, {mask.size(0), mask.size(1), network.sizes.d_model}, "what was read");
    std::vector<const Number*> rows;
    for (int64_t row = 0; row < mask.size(0); ++row) rows.push_back(data<Number>(encoded) + row * encoded.stride(0));
    return read(network, desk, threads, rows, lengths);
  }

  // What a pass has left in the desk.
  Tensor hidden(int64_t count) const {
    Tensor out = at::empty({count, network.sizes.d_model}, embedding.options());
    for (int64_t row = 0; row < count; ++row)
      std::copy_n(desk.normed.row(row), network.sizes.d_model, data<Number>(out) + row * network.sizes.d_model);
    return out;
  }

  Tensor pass_tree(const Tensor& encoded, const Tensor& mask, const Tensor& nodes) override {
    check_sizes(nodes, {3, nodes.size(1)}, "nodes");
    const auto inputs = read_grid(encoded, mask);
    const Tensor tokens = nodes[0].contiguous(), parents = nodes[1].contiguous(), own = nodes[2].contiguous();
    const Tree tree{checked_tokens(tokens, network.sizes.vocabulary), data<int64_t>(parents), data<int64_t>(own), nodes.size(1)};
    for (int64_t node = 0; node < tree.nodes; ++node) {
      TORCH_CHECK(tree.parents[node] < node && tree.parents[node] >= -1, "node ", node, " stands before its parent");
      TORCH_CHECK(tree.inputs[node] >= 0 && tree.inputs[node] < mask.size(0), "node ", node, " has no input");
    }
    ::pass_tree(network, desk, threads, inputs, tree);
    return hidden(tree.nodes);
  }

  std::unique_ptr<Answers> begin() const override { return std::make_unique<AnswersOf<Number>>(); }

  void join(Answers& answers, const Tensor& encoded, const Tensor& mask, int64_t rows, int64_t expected) override {
    for (const auto& input : read_grid(encoded, mask))
      for (int64_t row = 0; row < rows; ++row) static_cast<AnswersOf<Number>&>(answers).rows.push_back({input, nullptr, 0, expected});
  }

  Tensor step(Answers& answers, const Tensor& tokens) override {
    auto& rows = static_cast<AnswersOf<Number>&>(answers).rows;
    check_sizes(tokens, {static_cast<int64_t>(rows.size())}, "the newest tokens");
    ::step(network, desk, threads, rows, checked_tokens(tokens, network.sizes.vocabulary));
    return hidden(tokens.numel());
  }

  void follow(Answers& answers, const Tensor& sources) const override {
    auto& rows = static_cast<AnswersOf<Number>&>(answers).rows;
    const int64_t* from = data<int64_t>(sources);
    std::vector<int64_t> followers(rows.size());
    for (int64_t at = 0; at < sources.numel(); ++at) {
      TORCH_CHECK(from[at] >= 0 && from[at] < static_cast<int64_t>(rows.size()), "there is no row ", from[at]);
      ++followers[from[at]];
    }
    std::vector<Answer<Number>> next;
    for (int64_t at = 0; at < sources.numel(); ++at) {
      Answer<Number>& source = rows[from[at]];
      next.push_back(--followers[from[at]] == 0 ? std::move(source) : copy(source));
    }
    rows = std::move(next);
  }

  const void* place(const Answers& answers, int64_t row) const override {
    return static_cast<const AnswersOf<Number>&>(answers).rows.at(row).said->begin();
  }

  Answer<Number> copy(const Answer<Number>& answer) const {
    Answer<Number> copied{answer.input, nullptr, answer.length, answer.expected};
    if (answer.said) {
      const auto layers = static_cast<int64_t>(network.decoder.size());
      copied.said = std::make_unique<Kept<Number>>(network.sizes, layers, answer.said->capacity());
      copied.said->copy(*answer.said, answer.length);
    }
    return copied;
  }

  Network<Number> network;
  Desk<Number> desk;
  // Keeps the numbers of the embedding.
  Tensor embedding;
};

}  // namespace

std::unique_ptr<PrepackedT5> prepacked_t5(const Sizes& sizes, Storage storage, const Tensor* const* ends) {
  std::unique_ptr<PrepackedT5> t5;
  by_kind(*ends[0], [&](auto* kind) {
    using Number = std::remove_pointer_t<decltype(kind)>;
    constexpr bool is_bf16 = std::is_same_v<Number, bf16>;
    TORCH_CHECK(storage == Storage::NUMBERS || is_bf16, "levels are multiplied in bf16 alone");
    TORCH_CHECK(!is_bf16 || way_of_processor() != Way::NONE, "this processor has no instructions for bf16");
    t5 = std::make_unique<PrepackedOf<Number>>(sizes, storage, ends);
  });
  return t5;
}
