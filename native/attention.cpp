// Attention of many heads over sequences that lie end to end, without padding: sequence s has the queries
// [query_starts[s], query_starts[s + 1]) and sees the keys [key_starts[s], key_starts[s + 1]). A head of a sequence is one
// piece of work, in fp32, some rows at a time, so that scores never lie in memory whole; the backward pass computes them again
// from each row's log-sum-exp.
//
// T5 does not divide scores by sqrt(d_kv). It adds a bias by distance, `bias[head][key - query + zero]`.
#include <algorithm>
#include <vector>

#include "attention.h"
#include "product.h"
#include "shim.h"
#include "softmax.h"

using attention::Piece;
using attention::Shape;

namespace {

using attention::ROWS;

// At least so many numbers; what they are is left from the last piece of work.
INLINE float* room(std::vector<float>& scratch, int64_t count) {
  if (static_cast<int64_t>(scratch.size()) < count) scratch.resize(count);
  return scratch.data();
}

template <typename Number>
INLINE void gather(const Number* from, int64_t step, int64_t rows, int64_t width, float* to, int64_t to_step) {
  for (int64_t row = 0; row < rows; ++row) {
#pragma omp simd
    for (int64_t at = 0; at < width; ++at) to[row * to_step + at] = load(from + row * step + at);
    for (int64_t at = width; at < to_step; ++at) to[row * to_step + at] = 0.0f;
  }
}

template <typename Number>
INLINE void gather_transposed(const Number* from, int64_t step, int64_t rows, int64_t width, float* to, int64_t to_step) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t at = 0; at < width; ++at) to[at * to_step + row] = load(from + row * step + at);
  for (int64_t at = 0; at < width; ++at)
    for (int64_t row = rows; row < to_step; ++row) to[at * to_step + row] = 0.0f;
}

template <typename Number>
INLINE void scatter(const float* from, int64_t from_step, int64_t rows, int64_t width, Number* to, int64_t step) {
  for (int64_t row = 0; row < rows; ++row)
#pragma omp simd
    for (int64_t at = 0; at < width; ++at) store(to + row * step + at, from[row * from_step + at]);
}

INLINE int64_t visible(const Shape& shape, const Piece& piece, int64_t row) {
  return shape.causal ? std::min(row + 1, piece.keys) : piece.keys;
}

template <typename Number>
INLINE void attend(const Shape& shape, const Piece& piece, const Number* q, const Number* k, const Number* v,
                   const float* bias, Number* out, float* log_sums, std::vector<float>& scratch) {
  const int64_t width = padded(shape.width), keys = padded(piece.keys);
  float* k_transposed = room(scratch, attention::scratch_size(shape.width, piece.keys));
  float* values = k_transposed + shape.width * keys;
  float* queries = values + piece.keys * width;
  float* mixed = queries + ROWS * width;
  float* scores = mixed + ROWS * width;
  const int64_t column = piece.head * shape.width;
  gather_transposed(k + piece.key_start * shape.step_k + column, shape.step_k, piece.keys, shape.width, k_transposed, keys);
  gather(v + piece.key_start * shape.step_k + column, shape.step_k, piece.keys, shape.width, values, width);
  for (int64_t first = 0; first < piece.queries; first += ROWS) {
    const int64_t rows = std::min(ROWS, piece.queries - first);
    gather(q + (piece.query_start + first) * shape.step_q + column, shape.step_q, rows, shape.width, queries, width);
    std::fill(scores, scores + rows * keys, 0.0f);
    std::fill(mixed, mixed + rows * width, 0.0f);
    multiply({queries, width, 1}, k_transposed, keys, scores, keys, rows, keys, shape.width);
    for (int64_t at = 0; at < rows; ++at) {
      const int64_t row = first + at, count = visible(shape, piece, row);
      float* shares = scores + at * keys;
      const float* row_bias = bias ? bias + piece.head * shape.distances + shape.zero - row : nullptr;
      log_sums[piece.query_start + row] = row_bias ? share_out(shares, row_bias, count) : share_out(shares, count);
      const uint32_t place = piece.first_score + static_cast<uint32_t>(row * piece.keys);
#pragma omp simd
      for (int64_t key = 0; key < count; ++key) shares[key] *= shape.dropout.factor(place + static_cast<uint32_t>(key));
      for (int64_t key = count; key < keys; ++key) shares[key] = 0.0f;
    }
    multiply({scores, keys, 1}, values, width, mixed, width, rows, width, piece.keys);
    scatter(mixed, width, rows, shape.width, out + (piece.query_start + first) * shape.step_out + column, shape.step_out);
  }
}

// Turns the gradient of a row's dropped-out shares into that of its scores, and its scores into its dropped-out shares.
INLINE void row_backward(float* scores, float* gradient, const float* bias, float* bias_gradient, float log_sum,
                         int64_t count, int64_t keys, uint32_t place, Dropout dropout) {
  float mean = 0.0f;
  for (int64_t key = 0; key < count; ++key) scores[key] += bias ? bias[key] : 0.0f;
#pragma omp simd reduction(+ : mean)
  for (int64_t key = 0; key < count; ++key) {
    const float share = exponential(scores[key] - log_sum), factor = dropout.factor(place + static_cast<uint32_t>(key));
    const float moved = gradient[key] * factor;
    scores[key] = share;
    gradient[key] = moved;
    mean += share * moved;
  }
#pragma omp simd
  for (int64_t key = 0; key < count; ++key) {
    gradient[key] = scores[key] * (gradient[key] - mean);
    scores[key] *= dropout.factor(place + static_cast<uint32_t>(key));
  }
  if (bias) {
#pragma omp simd
    for (int64_t key = 0; key < count; ++key) bias_gradient[key] += gradient[key];
  }
  for (int64_t key = count; key < keys; ++key) scores[key] = gradient[key] = 0.0f;
}

template <typename Number>
struct Gradients {
  Number *q, *k, *v;
  float* bias;
};

template <typename Number>
INLINE void attend_backward(const Shape& shape, const Piece& piece, const Number* gradient, const Number* q,
                            const Number* k, const Number* v, const float* bias, const float* log_sums,
                            Gradients<Number> out, std::vector<float>& scratch) {
  const int64_t width = padded(shape.width), keys = padded(piece.keys), inner = shape.heads * shape.width;
  float* k_transposed =
      room(scratch, 2 * shape.width * keys + 3 * piece.keys * width + ROWS * (3 * width + 2 * keys));
  float* v_transposed = k_transposed + shape.width * keys;
  float* k_rows = v_transposed + shape.width * keys;
  float* k_gradient = k_rows + piece.keys * width;
  float* v_gradient = k_gradient + piece.keys * width;
  float* queries = v_gradient + piece.keys * width;
  float* incoming = queries + ROWS * width;
  float* q_gradient = incoming + ROWS * width;
  float* scores = q_gradient + ROWS * width;
  float* score_gradient = scores + ROWS * keys;
  const int64_t column = piece.head * shape.width, key_place = piece.key_start * shape.step_k + column;
  std::fill(k_gradient, queries, 0.0f);
  gather_transposed(k + key_place, shape.step_k, piece.keys, shape.width, k_transposed, keys);
  gather_transposed(v + key_place, shape.step_k, piece.keys, shape.width, v_transposed, keys);
  gather(k + key_place, shape.step_k, piece.keys, shape.width, k_rows, width);
  for (int64_t first = 0; first < piece.queries; first += ROWS) {
    const int64_t rows = std::min(ROWS, piece.queries - first), start = piece.query_start + first;
    gather(q + start * shape.step_q + column, shape.step_q, rows, shape.width, queries, width);
    gather(gradient + start * inner + column, inner, rows, shape.width, incoming, width);
    std::fill(scores, scores + rows * keys, 0.0f);
    std::fill(score_gradient, score_gradient + rows * keys, 0.0f);
    std::fill(q_gradient, q_gradient + rows * width, 0.0f);
    multiply({queries, width, 1}, k_transposed, keys, scores, keys, rows, keys, shape.width);
    multiply({incoming, width, 1}, v_transposed, keys, score_gradient, keys, rows, keys, shape.width);
    for (int64_t at = 0; at < rows; ++at) {
      const int64_t row = first + at, offset = piece.head * shape.distances + shape.zero - row;
      row_backward(scores + at * keys, score_gradient + at * keys, bias ? bias + offset : nullptr, out.bias + offset,
                   log_sums[piece.query_start + row], visible(shape, piece, row), keys,
                   piece.first_score + static_cast<uint32_t>(row * piece.keys), shape.dropout);
    }
    multiply({scores, 1, keys}, incoming, width, v_gradient, width, piece.keys, width, rows);
    multiply({score_gradient, keys, 1}, k_rows, width, q_gradient, width, rows, width, piece.keys);
    multiply({score_gradient, 1, keys}, queries, width, k_gradient, width, piece.keys, width, rows);
    scatter(q_gradient, width, rows, shape.width, out.q + start * inner + column, inner);
  }
  scatter(k_gradient, width, piece.keys, shape.width, out.k + piece.key_start * inner + column, inner);
  scatter(v_gradient, width, piece.keys, shape.width, out.v + piece.key_start * inner + column, inner);
}

#define KERNEL(Number)                                                                                                \
  FOR_EVERY_PROCESSOR void backward_of(const Shape& shape, const Piece& piece, const Number* gradient,               \
                                       const Number* q, const Number* k, const Number* v, const float* bias,         \
                                       const float* log_sums, Gradients<Number> out, std::vector<float>& scratch) {  \
    attend_backward(shape, piece, gradient, q, k, v, bias, log_sums, out, scratch);                                   \
  }

KERNEL(float)
KERNEL(bf16)
#undef KERNEL

}  // namespace

#define KERNEL(Number)                                                                                                \
  FOR_EVERY_PROCESSOR void attention::attend_of(const Shape& shape, const Piece& piece, const Number* q,              \
                                                const Number* k, const Number* v, const float* bias, Number* out,    \
                                                float* log_sums, std::vector<float>& scratch) {                       \
    attend(shape, piece, q, k, v, bias, out, log_sums, scratch);                                                      \
  }

KERNEL(float)
KERNEL(bf16)
#undef KERNEL

namespace {

// What no piece of work checks again.
void check(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias, const Tensor& query_starts,
           const Tensor& key_starts, const Shape& shape) {
  TORCH_CHECK(shape.heads > 0 && q.size(1) == shape.heads * shape.width, "queries of ", q.size(1), " are not ", shape.heads,
              " heads");
  check_sizes(k, {k.size(0), q.size(1)}, "what keys are made of");
  check_sizes(v, k.sizes(), "the values");
  check_sizes(key_starts, query_starts.sizes(), "the keys' starts");
  if (bias.defined()) check_sizes(bias, {shape.heads, shape.distances}, "the bias");
  const auto *q_at = data<int64_t>(query_starts), *k_at = data<int64_t>(key_starts);
  const int64_t sequences = query_starts.numel() - 1;
  TORCH_CHECK(sequences >= 0 && q_at[0] >= 0 && k_at[0] >= 0 && q_at[sequences] <= q.size(0) && k_at[sequences] <= k.size(0),
              "sequences lie outside the rows");
  for (int64_t at = 0; at < sequences; ++at) {
    const int64_t queries = q_at[at + 1] - q_at[at], keys = k_at[at + 1] - k_at[at];
    TORCH_CHECK(queries >= 0 && keys >= 0 && (queries == 0 || keys > 0), "sequence ", at, " runs backwards or sees nothing");
    const int64_t ahead = shape.causal ? 1 : keys;
    TORCH_CHECK(!bias.defined() || (queries <= shape.zero + 1 && shape.zero + ahead <= shape.distances),
                "the bias does not reach over sequence ", at);
  }
}

// The pieces of work: head by head, so that any stretch of them has long and short sequences.
std::vector<Piece> pieces(const Tensor& query_starts, const Tensor& key_starts, int64_t heads) {
  const auto *q = data<int64_t>(query_starts), *k = data<int64_t>(key_starts);
  const int64_t sequences = query_starts.numel() - 1;
  std::vector<Piece> found;
  uint32_t score = 0;
  for (int64_t head = 0; head < heads; ++head)
    for (int64_t at = 0; at < sequences; ++at) {
      const int64_t queries = q[at + 1] - q[at], keys = k[at + 1] - k[at];
      found.push_back({head, q[at], queries, k[at], keys, score});
      score += static_cast<uint32_t>(queries * keys);
    }
  return found;
}

struct Attend : public torch::autograd::Function<Attend> {
  // Gives (queries, heads * width).
  static Tensor forward(AutogradContext* context, const Tensor& given_q, const Tensor& given_k, const Tensor& given_v,
                        const std::optional<Tensor>& bias, const Tensor& query_starts, const Tensor& key_starts, int64_t heads,
                        int64_t zero, bool causal, double probability, int64_t seed) {
    const Tensor q = given_q.contiguous(), k = given_k.contiguous(), v = given_v.contiguous();
    const Tensor table = bias ? bias->contiguous() : Tensor();
    const int64_t inner = q.size(1);
    const Shape shape{heads, inner / heads, inner, inner, inner, zero, table.defined() ? table.size(1) : 0, causal,
                      Dropout::of(probability, static_cast<uint64_t>(seed))};
    check(q, k, v, table, query_starts, key_starts, shape);
    Tensor out = at::empty_like(q), log_sums = at::empty({heads, q.size(0)}, q.options().dtype(at::kFloat));
    const auto work = pieces(query_starts, key_starts, heads);
    by_kind(q, [&](auto* kind) {
      using Number = std::remove_pointer_t<decltype(kind)>;
      at::parallel_for(0, static_cast<int64_t>(work.size()), 1, [&](int64_t begin, int64_t end) {
        std::vector<float> scratch;
        for (int64_t at = begin; at < end; ++at)
          attention::attend_of(shape, work[at], data<Number>(q), data<Number>(k), data<Number>(v),
                    table.defined() ? data<float>(table) : nullptr, data<Number>(out),
                    data<float>(log_sums) + work[at].head * q.size(0), scratch);
      });
    });
    context->save_for_backward({q, k, v, table, query_starts, key_starts, log_sums});
    context->saved_data["heads"] = heads;
    context->saved_data["zero"] = zero;
    context->saved_data["causal"] = causal;
    context->saved_data["probability"] = probability;
    context->saved_data["seed"] = seed;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &q = saved[0], &k = saved[1], &v = saved[2], &table = saved[3], &log_sums = saved[6];
    const Tensor gradient = gradients[0].contiguous();
    const int64_t heads = context->saved_data["heads"].toInt(), inner = q.size(1);
    const int64_t distances = table.defined() ? table.size(1) : 0;
    const Shape shape{heads, inner / heads, inner, inner, inner, context->saved_data["zero"].toInt(), distances,
                      context->saved_data["causal"].toBool(),
                      Dropout::of(context->saved_data["probability"].toDouble(),
                                  static_cast<uint64_t>(context->saved_data["seed"].toInt()))};
    Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
    Tensor sums = at::zeros({parts(), heads, distances}, log_sums.options());
    const auto work = pieces(saved[4], saved[5], heads);
    by_kind(q, [&](auto* kind) {
      using Number = std::remove_pointer_t<decltype(kind)>;
      at::parallel_for(0, static_cast<int64_t>(work.size()), 1, [&](int64_t begin, int64_t end) {
        std::vector<float> scratch;
        const Gradients<Number> out{data<Number>(dq), data<Number>(dk), data<Number>(dv),
                                    data<float>(sums) + at::get_thread_num() * heads * distances};
        for (int64_t at = begin; at < end; ++at)
          backward_of(shape, work[at], data<Number>(gradient), data<Number>(q), data<Number>(k), data<Number>(v),
                      table.defined() ? data<float>(table) : nullptr,
                      data<float>(log_sums) + work[at].head * q.size(0), out, scratch);
      });
    });
    const Tensor none, bias_gradient = table.defined() ? sums.sum(0) : none;
    return {dq, dk, dv, bias_gradient, none, none, none, none, none, none, none};
  }
};

}  // namespace

extern "C" char* stepwise_attend(const Tensor* q, const Tensor* k, const Tensor* v, const Tensor* bias,
                                 const Tensor* query_starts, const Tensor* key_starts, int64_t heads, int64_t zero,
                                 bool causal, double probability, int64_t seed, Tensor** out) {
  return guarded([&] {
    *out = new Tensor(Attend::apply(*q, *k, *v, optional(bias), *query_starts, *key_starts, heads, zero, causal,
                                    probability, seed));
  });
}
