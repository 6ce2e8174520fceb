// A prepacked T5 of either kind of number: tensors in, tensors out.
#pragma once

#include "prepacking.h"

// Answers that go on side by side.
struct Answers {
  virtual ~Answers() = default;
};

// A prepacked T5 of either kind.
struct PrepackedT5 {
  virtual ~PrepackedT5() = default;
  virtual void add_encoder_layer(const Tensor* const* tensors) = 0;
  virtual void add_decoder_layer(const Tensor* const* tensors) = 0;
  virtual Tensor encode(const Tensor& ids, const Tensor& mask) = 0;
  virtual Tensor logits(const Tensor& hidden) = 0;
  virtual Tensor likeliest(const Tensor& hidden, const Tensor& barred) = 0;
  virtual Tensor normalizers(const Tensor& hidden) = 0;
  virtual Tensor logits_of(const Tensor& hidden, const Tensor& tokens) = 0;
  virtual Tensor pass_tree(const Tensor& encoded, const Tensor& mask, const Tensor& nodes) = 0;
  virtual std::unique_ptr<Answers> begin() const = 0;
  virtual void join(Answers& answers, const Tensor& encoded, const Tensor& mask, int64_t rows, int64_t expected) = 0;
  virtual Tensor step(Answers& answers, const Tensor& tokens) = 0;
  virtual void follow(Answers& answers, const Tensor& sources) const = 0;
  // Where an answer keeps what was said.
  virtual const void* place(const Answers& answers, int64_t row) const = 0;

  int64_t threads = 1;
};

// One of what stands before and after the layers (see `prepack_ends`), whose layers are to come. Levels are for bf16.
std::unique_ptr<PrepackedT5> prepacked_t5(const Sizes& sizes, Storage storage, const Tensor* const* ends);
