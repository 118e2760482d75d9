// The order in which emulated threads and blocks run. A GPU has none: what is right must come out
// the same in every order, and two phases that lack the barrier between them do not.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <stdexcept>
#include <string>

namespace mmkd {

enum class EmulatedOrder { ascending, descending, shuffled };

inline EmulatedOrder read_emulated_order() {
  const char* variable = std::getenv("MMKD_EMULATED_ORDER");
  const std::string name = variable ? variable : "";
  if (name.empty() || name == "ascending") return EmulatedOrder::ascending;
  if (name == "descending") return EmulatedOrder::descending;
  if (name == "shuffled") return EmulatedOrder::shuffled;
  throw std::runtime_error("MMKD_EMULATED_ORDER='" + name +
                           "' is not one of ascending, descending, shuffled");
}

// $MMKD_EMULATED_ORDER, read at the first launch; ascending unless it is set.
inline EmulatedOrder emulated_order() {
  static const EmulatedOrder order = read_emulated_order();
  return order;
}

// The next of a fixed sequence of numbers (splitmix64), so that a run can be repeated.
inline uint64_t next_emulated_number() {
  thread_local uint64_t state = 0;
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// f(i) for i in [0, n). Shuffled: from anywhere in steps of any length that has no factor in
// common with n, another one in each call.
template <class F>
void in_emulated_order(int64_t n, const F& f) {
  if (n == 0) return;
  int64_t at = 0, step = 1;
  if (emulated_order() == EmulatedOrder::descending) at = step = n - 1;
  if (emulated_order() == EmulatedOrder::shuffled) {
    at = int64_t(next_emulated_number() % uint64_t(n));
    do step = int64_t(next_emulated_number() % uint64_t(n));
    while (std::gcd(step, n) != 1);
  }
  for (int64_t done = 0; done < n; ++done) {
    f(at);
    at += step;
    if (at >= n) at -= n;
  }
}

}  // namespace mmkd
