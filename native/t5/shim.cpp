// The prepacked T5 as Rust calls it.
#include "prepacked.h"

namespace {

void give(Tensor** out, Tensor tensor) { *out = new Tensor(std::move(tensor)); }

}  // namespace

extern "C" {

// How bf16 is multiplied here: 0 not at all, 1 by pairs, 2 by tiles.
int64_t stepwise_t5_way() { return static_cast<int64_t>(way_of_processor()); }

// A product of bf16 matrices, left (rows, depth) and right (columns, depth), the latter kept in some storage, by a way that the processor
// has: (rows, columns) fp32. For tests.
char* stepwise_t5_multiply(const Tensor* left, const Tensor* right, int64_t storage, int64_t way, int64_t threads, Tensor** out) {
  return guarded([&] {
    const int64_t count = left->size(0), depth = left->size(1);
    check_sizes(*right, {right->size(0), depth}, "the right matrix");
    TORCH_CHECK(way >= 1 && way <= static_cast<int64_t>(way_of_processor()), "the processor has no way ", way);
    Rows<bf16> rows(depth);
    rows.hold(count);
    for (int64_t row = 0; row < count; ++row) std::copy_n(data<bf16>(*left) + row * depth, depth, rows.row(row));
    std::vector<const bf16*> columns;
    for (int64_t column = 0; column < right->size(0); ++column) columns.push_back(data<bf16>(*right) + column * depth);
    const Matrix<bf16> matrix = prepack(columns, depth, static_cast<Storage>(storage));
    std::vector<Buffer<bf16>> widened;
    for (int64_t member = 0; member < threads; ++member) widened.emplace_back(matrix.panel_size());
    Tensor product = at::empty({count, matrix.columns}, left->options().dtype(at::kFloat));
    const Target target{Become::FLOATS, data<float>(product), matrix.columns};
    in_team(threads, [&](const Team& team) {
      multiply(team, rows, count, matrix, target, widened[team.member].begin(), static_cast<Way>(way));
    });
    give(out, product);
  });
}

char* stepwise_t5_prepack(const Sizes* sizes, int64_t storage, const Tensor* const* ends, PrepackedT5** out) {
  return guarded([&] {
    TORCH_CHECK(ends[0], "there is no embedding");
    *out = prepacked_t5(*sizes, static_cast<Storage>(storage), ends).release();
  });
}

char* stepwise_t5_add_encoder_layer(PrepackedT5* t5, const Tensor* const* tensors) {
  return guarded([&] { t5->add_encoder_layer(tensors); });
}

char* stepwise_t5_add_decoder_layer(PrepackedT5* t5, const Tensor* const* tensors) {
  return guarded([&] { t5->add_decoder_layer(tensors); });
}

void stepwise_t5_free(PrepackedT5* t5) { delete t5; }

void stepwise_t5_use_threads(PrepackedT5* t5, int64_t threads) { t5->threads = std::max<int64_t>(1, threads); }

char* stepwise_t5_encode(PrepackedT5* t5, const Tensor* ids, const Tensor* mask, Tensor** out) {
  return guarded([&] { give(out, t5->encode(ids->contiguous(), *mask)); });
}

char* stepwise_t5_logits(PrepackedT5* t5, const Tensor* hidden, Tensor** out) {
  return guarded([&] { give(out, t5->logits(hidden->contiguous())); });
}

char* stepwise_t5_likeliest(PrepackedT5* t5, const Tensor* hidden, const Tensor* barred, Tensor** out) {
  return guarded([&] { give(out, t5->likeliest(hidden->contiguous(), barred->contiguous())); });
}

char* stepwise_t5_normalizers(PrepackedT5* t5, const Tensor* hidden, Tensor** out) {
  return guarded([&] { give(out, t5->normalizers(hidden->contiguous())); });
}

char* stepwise_t5_logits_of(PrepackedT5* t5, const Tensor* hidden, const Tensor* tokens, Tensor** out) {
  return guarded([&] { give(out, t5->logits_of(hidden->contiguous(), tokens->contiguous())); });
}

char* stepwise_t5_pass_tree(PrepackedT5* t5, const Tensor* encoded, const Tensor* mask, const Tensor* nodes, Tensor** out) {
  return guarded([&] { give(out, t5->pass_tree(encoded->contiguous(), *mask, *nodes)); });
}

char* stepwise_answers_begin(const PrepackedT5* t5, Answers** out) {
  return guarded([&] { *out = t5->begin().release(); });
}

void stepwise_answers_free(Answers* answers) { delete answers; }

char* stepwise_answers_join(PrepackedT5* t5, Answers* answers, const Tensor* encoded, const Tensor* mask, int64_t rows,
                            int64_t expected) {
  return guarded([&] { t5->join(*answers, encoded->contiguous(), *mask, rows, expected); });
}

char* stepwise_answers_step(PrepackedT5* t5, Answers* answers, const Tensor* tokens, Tensor** out) {
  return guarded([&] { give(out, t5->step(*answers, tokens->contiguous())); });
}

const void* stepwise_answers_place(const PrepackedT5* t5, const Answers* answers, int64_t row) { return t5->place(*answers, row); }

char* stepwise_answers_follow(const PrepackedT5* t5, Answers* answers, const Tensor* sources) {
  return guarded([&] { t5->follow(*answers, sources->contiguous()); });
}
}
