// CPU side: threads, and memory for large outputs.
#pragma once

#include <algorithm>

#include "../common.h"
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace mmkd {

// f(i) for i in [0, n), on at::parallel_for's threads; every i writes its own output, so that
// the result does not depend on how many threads there are.
template <class F>
void for_each(int64_t n, int64_t grain, const F& f) {
  torch::stable::parallel_for(0, n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}

// A function that only prefetches has no effect that GCC knows of, and a call of it is removed
// unless it is inlined first.
#define MMKD_PREFETCHING __attribute__((always_inline)) inline

// Ask for the cache line at an address, which need not be that of anything: a prefetch of
// nothing is harmless.
MMKD_PREFETCHING void prefetch(uintptr_t address) {
  __builtin_prefetch(reinterpret_cast<const void*>(address));
}

// A new tensor, as new_empty's, with huge pages behind it where it is large: otherwise the first
// write to each 4 KiB costs a page fault, which takes longer than filling them.
inline Tensor new_output(const Tensor& like, std::initializer_list<int64_t> sizes, ScalarType t) {
  Tensor out = new_empty(like, sizes, t);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 2u << 20;
  const auto first = reinterpret_cast<uintptr_t>(out.mutable_data_ptr());
  const auto last = first + out.numel() * out.element_size();
  const auto begin = (first + page - 1) / page * page, end = last / page * page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
  return out;
}

}  // namespace mmkd
