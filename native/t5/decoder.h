// What the decoder keeps of inputs and of what was said, and its passes.
#pragma once

#include "network.h"

// Keys and values of one sequence in each layer and head.
template <typename Number>
class Kept {
 public:
  Kept(const Sizes& sizes, int64_t layers, int64_t capacity);

  int64_t capacity() const { return capacity_; }
  const Number* begin() const { return numbers_.begin(); }
  Head<Number> head(int64_t layer, int64_t head) const { return {keys(layer, head), values(layer, head), capacity_}; }
  // Writes a head's keys and values from a place on: rows that are `step` numbers apart.
  void put(int64_t layer, int64_t head, int64_t place, const Number* key, const Number* value, int64_t step = 0, int64_t count = 1);
  // The first `count` places of another one.
  void copy(const Kept& other, int64_t count);

 private:
  Number* keys(int64_t layer, int64_t head) const { return numbers_.begin() + (layer * heads_ + head) * size_of_head(); }
  Number* values(int64_t layer, int64_t head) const { return keys(layer, head) + width_ * capacity_; }
  int64_t size_of_head() const { return capacity_ * (width_ + padded(width_)); }

  int64_t layers_, heads_, width_, capacity_;
  Buffer<Number> numbers_;
};

// An input that was read.
template <typename Number>
struct Input {
  Kept<Number> seen;
  int64_t tokens;
};

// An answer that goes on.
template <typename Number>
struct Answer {
  std::shared_ptr<const Input<Number>> input;
  std::unique_ptr<Kept<Number>> said;
  int64_t length = 0;
  // Tokens that there is room for before it must be made anew.
  int64_t expected = 0;
};

// Reads what the encoder made of inputs: rows of d_model numbers, `lengths[i]` of them at `encoded[i]`.
template <typename Number>
std::vector<std::shared_ptr<const Input<Number>>> read(const Network<Number>& network, Desk<Number>& desk, int64_t threads,
                                                       const std::vector<const Number*>& encoded,
                                                       const std::vector<int64_t>& lengths);

// One more token of each answer. Its row of `desk.normed` is then the hidden state after the final norm.
template <typename Number>
void step(const Network<Number>& network, Desk<Number>& desk, int64_t threads, std::vector<Answer<Number>>& answers,
          const int64_t* tokens);

// Tokens after each other, branching: each is seen by those that come after it. A node's parent stands before it, or is -1.
struct Tree {
  const int64_t *tokens, *parents, *inputs;
  int64_t nodes;
};

// Hidden states after the final norm, in the rows of `desk.normed`, of the tokens of trees, each node after its input's.
template <typename Number>
void pass_tree(const Network<Number>& network, Desk<Number>& desk, int64_t threads,
               const std::vector<std::shared_ptr<const Input<Number>>>& inputs, const Tree& tree);
