// Memory of the prepacked T5: aligned to cache lines, in huge pages where it is large, zero at first.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

constexpr int64_t up_to(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

template <typename Number>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count) {
    constexpr int64_t CACHE_LINE = 64, HUGE_PAGE = 1 << 21;
    const int64_t bytes = count * static_cast<int64_t>(sizeof(Number));
    const int64_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : CACHE_LINE;
    void* memory = std::aligned_alloc(alignment, up_to(std::max<int64_t>(bytes, 1), alignment));
    if (!memory) throw std::bad_alloc();
    numbers_.reset(static_cast<Number*>(memory));
#ifdef MADV_HUGEPAGE
    // Advice: where the kernel has none to give, pages stay small.
    if (alignment == HUGE_PAGE) madvise(memory, up_to(bytes, alignment), MADV_HUGEPAGE);
#endif
    std::memset(memory, 0, up_to(std::max<int64_t>(bytes, 1), alignment));
  }

  Number* begin() const { return numbers_.get(); }

 private:
  struct Free {
    void operator()(Number* numbers) const { std::free(numbers); }
  };
  std::unique_ptr<Number, Free> numbers_;
};
