// Keys and values that are kept.
#include "decoder.h"

template <typename Number>
Kept<Number>::Kept(const Sizes& sizes, int64_t layers, int64_t capacity)
    : layers_(layers), heads_(sizes.heads), width_(sizes.d_kv), capacity_(padded(capacity)),
      numbers_(layers * sizes.heads * size_of_head()) {}

template <typename Number>
void Kept<Number>::put(int64_t layer, int64_t head, int64_t place, const Number* key, const Number* value, int64_t step,
                       int64_t count) {
  Number *to_key = keys(layer, head) + place, *to_value = values(layer, head) + place * padded(width_);
  for (int64_t at = 0; at < width_; ++at)
    for (int64_t row = 0; row < count; ++row) to_key[at * capacity_ + row] = key[row * step + at];
  for (int64_t row = 0; row < count; ++row) std::copy_n(value + row * step, width_, to_value + row * padded(width_));
}

template <typename Number>
void Kept<Number>::copy(const Kept& other, int64_t count) {
  for (int64_t layer = 0; layer < layers_; ++layer)
    for (int64_t head = 0; head < heads_; ++head) {
      for (int64_t at = 0; at < width_; ++at)
        std::copy_n(other.keys(layer, head) + at * other.capacity_, count, keys(layer, head) + at * capacity_);
      std::copy_n(other.values(layer, head), count * padded(width_), values(layer, head));
    }
}

template class Kept<float>;
template class Kept<bf16>;
