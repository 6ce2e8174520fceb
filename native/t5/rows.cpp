// What a pass does with rows besides products.
#include "network.h"

namespace {

template <typename Number>
INLINE void norm_row(const float* row, const float* weight, int64_t width, float epsilon, Number* out) {
  float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
  for (int64_t at = 0; at < width; ++at) squares += row[at] * row[at];
  const float scale = 1.0f / std::sqrt(squares / static_cast<float>(width) + epsilon);
#pragma omp simd
  for (int64_t at = 0; at < width; ++at) store(out + at, row[at] * scale * weight[at]);
}

template <typename Number>
INLINE void embed_row(const Number* from, int64_t width, float* to) {
#pragma omp simd
  for (int64_t at = 0; at < width; ++at) to[at] = load(from + at);
}

#define KERNELS(Number)                                                                                                       \
  FOR_EVERY_PROCESSOR void norm_of(const float* row, const float* weight, int64_t width, float epsilon, Number* out) {       \
    norm_row(row, weight, width, epsilon, out);                                                                               \
  }                                                                                                                           \
  FOR_EVERY_PROCESSOR void embed_of(const Number* from, int64_t width, float* to) { embed_row(from, width, to); }             \
  FOR_EVERY_PROCESSOR void look_of(const Number* query, int64_t width, const Head<Number>& head, int64_t count,              \
                                   float* scores, Number* out) {                                                              \
    look(query, width, head, count, scores, out);                                                                             \
  }

KERNELS(float)
KERNELS(bf16)
#undef KERNELS

}  // namespace

void look_at(const float* query, int64_t width, const Head<float>& head, int64_t count, float* scores, float* out) {
  look_of(query, width, head, count, scores, out);
}

void look_at(const bf16* query, int64_t width, const Head<bf16>& head, int64_t count, float* scores, bf16* out) {
  look_of(query, width, head, count, scores, out);
}

template <typename Number>
void embed(const Team& team, const Network<Number>& network, const int64_t* tokens, int64_t count, Rows<float>& hidden) {
  const int64_t width = network.sizes.d_model;
  const auto [begin, end] = team.share(count);
  for (int64_t row = begin; row < end; ++row) embed_of(network.embedding + tokens[row] * width, width, hidden.row(row));
}

template <typename Number>
void norm_rows(const Team& team, const Rows<float>& rows, int64_t count, const std::vector<float>& weight, float epsilon,
               Number* out, int64_t stride) {
  const auto [begin, end] = team.share(count);
  for (int64_t row = begin; row < end; ++row) norm_of(rows.row(row), weight.data(), rows.width, epsilon, out + row * stride);
}

#define FOR_KIND(Number)                                                                                                      \
  template void embed(const Team&, const Network<Number>&, const int64_t*, int64_t, Rows<float>&);                           \
  template void norm_rows(const Team&, const Rows<float>&, int64_t, const std::vector<float>&, float, Number*, int64_t);

FOR_KIND(float)
FOR_KIND(bf16)
#undef FOR_KIND
