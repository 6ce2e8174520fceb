// The threads of a team.
#include "team.h"

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#ifdef __linux__
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace {

// How long looking pays: some times what it takes to be woken, and less than another process is given the processor for.
constexpr auto PATIENCE = std::chrono::microseconds(200);

void pause_shortly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

#ifdef __linux__
// The standard's own waiting comes with C++20.
void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}
void wake_all(std::atomic<uint32_t>& word) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0); }

// What this thread is called where threads are listed.
void name_member(int64_t number) {
  char name[16];
  std::snprintf(name, sizeof name, "stepwise-t5-%d", static_cast<int>(number % 1000));
  pthread_setname_np(pthread_self(), name);
}
#else
void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
  if (word.load() == value) std::this_thread::yield();
}
void wake_all(std::atomic<uint32_t>&) {}
void name_member(int64_t) {}
#endif

// Threads that wait for teams to join. They live as long as the process.
class Members {
 public:
  // False where somebody else has them, or where the system gives no thread for one of them.
  bool run(int64_t size, void (*work)(const void*, const Team&), const void* context) {
    const std::unique_lock<std::mutex> alone(mutex_, std::try_to_lock);
    if (!alone || !have(size - 1)) return false;
    size_ = size;
    work_ = work;
    context_ = context;
    for (int64_t member = 0; member < size - 1; ++member) members_[member]->calls.change();
    work(context, {0, size, &meeting_});
    // Nobody may still be looking at what `context` points to.
    meeting_.meet(size);
    return true;
  }

 private:
  struct Member {
    Signal calls;
  };

  // Whether there are so many now. Nobody is a member before their thread lives: the others would wait for them for ever.
  bool have(int64_t count) {
    try {
      members_.reserve(std::max<size_t>(members_.size(), count));
      while (static_cast<int64_t>(members_.size()) < count) {
        auto member = std::make_unique<Member>();
        std::thread(&Members::live, this, member.get(), static_cast<int64_t>(members_.size()) + 1).detach();
        members_.push_back(std::move(member));
      }
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }

  void live(Member* self, int64_t number) {
    name_member(number);
    for (uint32_t heard = 0;; ++heard) {
      self->calls.wait_while(heard);
      work_(context_, {number, size_, &meeting_});
      meeting_.meet(size_);
    }
  }

  std::mutex mutex_;
  std::vector<std::unique_ptr<Member>> members_;
  Meeting meeting_;
  int64_t size_ = 0;
  void (*work_)(const void*, const Team&) = nullptr;
  const void* context_ = nullptr;
};

}  // namespace

void Signal::change() {
  value_.fetch_add(1);
  if (sleepers_.load() > 0) wake_all(value_);
}

void Signal::wait_while(uint32_t value) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    for (int look = 0; look < 16; ++look) {
      if (this->value() != value) return;
      pause_shortly();
    }
    if (std::chrono::steady_clock::now() - start > PATIENCE) break;
  }
  // Both this and `change` are sequentially consistent: either the change is seen here, or the sleeper is there.
  sleepers_.fetch_add(1);
  while (value_.load() == value) sleep_while(value_, value);
  sleepers_.fetch_sub(1);
}

void Meeting::meet(int64_t size) {
  const uint32_t round = rounds_.value();
  if (here_.fetch_add(1) + 1 == size) {
    here_.store(0);
    rounds_.change();
  } else {
    rounds_.wait_while(round);
  }
}

void run_team(int64_t size, void (*work)(const void* context, const Team& team), const void* context) {
  // Never destroyed: its threads may still sleep in it when the process ends.
  static Members& members = *new Members;
  if (size <= 1 || !members.run(size, work, context)) work(context, {0, 1, nullptr});
}
