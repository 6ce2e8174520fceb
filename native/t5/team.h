// Threads that go through the same code side by side. Each takes its share of every piece of work, and all meet where one needs
// what another has made. Nothing in a team may throw.
//
// A pass meets a hundred times. Whoever waits looks again and again for a short while, which costs less than sleeping, and then
// sleeps: on a busy machine the others may not be running at all, and looking would take the processor from them.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

// A number that threads wait for to change.
class Signal {
 public:
  uint32_t value() const { return value_.load(std::memory_order_acquire); }
  void change();
  void wait_while(uint32_t value);

 private:
  std::atomic<uint32_t> value_{0}, sleepers_{0};
};

// Where all members of a team meet.
class Meeting {
 public:
  void meet(int64_t size);

 private:
  std::atomic<int64_t> here_{0};
  Signal rounds_;
};

struct Team {
  int64_t member, size;
  Meeting* meeting;

  // This member's units, of so many: from the first up to the second number.
  std::pair<int64_t, int64_t> share(int64_t units) const { return {units * member / size, units * (member + 1) / size}; }

  // Nobody goes on before everybody is here.
  void meet() const {
    if (size > 1) meeting->meet(size);
  }
};

// Calls `work(context, team)` in each of so many threads, this one among them, and returns when all have. Where another thread's team
// is at work, or no more threads are to be had, this thread works alone.
void run_team(int64_t size, void (*work)(const void* context, const Team& team), const void* context);

template <typename Work>
void in_team(int64_t size, const Work& work) {
  run_team(size, [](const void* context, const Team& team) { (*static_cast<const Work*>(context))(team); }, &work);
}
