// Pieces of the sorted index, one element each.
#pragma once

#include "../common.h"

namespace mmkd {

constexpr int64_t kNoId = std::numeric_limits<int64_t>::max();

// Ids outside [0, limit) become the largest number, so that they sort last.
template <class Index>
struct SortableIds {
  const Index* ids;
  int64_t limit;
  int64_t* sortable;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t id = ids[i];
    sortable[i] = id >= 0 && id < limit ? id : kNoId;
  }
};

// Whether a new valid id begins at a place of the sorted ids.
MMKD_HD bool begins_segment(const int64_t* sorted, int64_t i) {
  return sorted[i] != kNoId && (i == 0 || sorted[i] != sorted[i - 1]);
}

// first[i] = 1 where a new valid id begins in the sorted ids.
struct MarkFirst {
  const int64_t* sorted;
  int64_t* first;

  MMKD_HD void operator()(int64_t i) const {
    first[i] = begins_segment(sorted, i);
  }
};

// The segments of sorted ids; `running` is the inclusive sum of MarkFirst.
struct WriteSegments {
  const int64_t *sorted, *order, *running;
  int64_t n, segments;
  int64_t *unique, *inverse, *starts;

  MMKD_HD void operator()(int64_t i) const {
    const bool valid = sorted[i] != kNoId;
    inverse[order[i]] = valid ? running[i] - 1 : -1;
    if (begins_segment(sorted, i)) {
      unique[running[i] - 1] = sorted[i];
      starts[running[i] - 1] = i;
    }
    if (valid && (i == n - 1 || sorted[i + 1] == kNoId)) starts[segments] = i + 1;
  }
};

// First of n ascending numbers that is at least `least`, n without one.
MMKD_HD int64_t first_at_least(const int64_t* sorted, int64_t n, int64_t least) {
  int64_t low = 0, high = n;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (sorted[middle] < least)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// starts[s] = first place in the sorted ids whose id is at least s.
template <class Index>
struct FindStarts {
  const int64_t* sorted;
  int64_t n;
  Index* starts;

  MMKD_HD void operator()(int64_t s) const {
    starts[s] = Index(first_at_least(sorted, n, s));
  }
};

}  // namespace mmkd
