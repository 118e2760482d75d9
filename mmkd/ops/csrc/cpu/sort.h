// Stable sort of (id, position) pairs by id: the index behind every segment operator.
#pragma once

#include <memory>

#include "parallel.h"

namespace mmkd {

inline int bit_length(uint64_t v) {
  int bits = 0;
  for (; v; v >>= 1) ++bits;
  return bits;
}

// Memory that is about to be overwritten: a vector would zero it first.
template <class T>
std::unique_ptr<T[]> uninitialized(int64_t n) {
  return std::unique_ptr<T[]>(new T[n]);
}

// Splits [0, n) for the threads; a short range is one chunk.
struct Chunks {
  explicit Chunks(int64_t n) : n(n) {
    const int64_t threads = torch::stable::get_num_threads();
    count = std::max<int64_t>(1, std::min<int64_t>(threads, n / 16384));
  }
  int64_t begin(int64_t chunk) const { return n * chunk / count; }

  // f(chunk, begin, end) for every chunk, each on its own thread.
  template <class F>
  void each(const F& f) const {
    for_each(count, 1, [&](int64_t c) { f(c, begin(c), begin(c + 1)); });
  }

  int64_t n, count;
};

struct Entry {
  int64_t id, position;
};

// Passes over the digits of ids of so many bits, and the bits of each digit.
struct Digits {
  explicit Digits(int id_bits)
      : passes((id_bits + 10) / 11), width(passes ? (id_bits + passes - 1) / passes : 0) {}
  int passes, width;
};

// Least significant digit first, so equal digits keep their order. `Item` is what moves: id and
// position packed into 64 bits where they fit, else an Entry. An even number of passes leaves
// the result in `items`, an odd one in `other`.
template <class Item, class Id>
void radix_sort(Item* items, Item* other, int64_t n, const Digits& digits, const Id& id_of) {
  const int64_t buckets = int64_t(1) << digits.width;
  const Chunks chunks(n);
  std::vector<int64_t> offsets(chunks.count * buckets);
  for (int pass = 0; pass < digits.passes; ++pass) {
    const int shift = pass * digits.width;
    const auto digit = [=](const Item& item) {
      return (uint64_t(id_of(item)) >> shift) & uint64_t(buckets - 1);
    };
    std::fill(offsets.begin(), offsets.end(), 0);
    chunks.each([&](int64_t c, int64_t begin, int64_t end) {
      int64_t* mine = offsets.data() + c * buckets;
      for (int64_t i = begin; i < end; ++i) ++mine[digit(items[i])];
    });
    int64_t total = 0;
    for (int64_t b = 0; b < buckets; ++b) {
      for (int64_t c = 0; c < chunks.count; ++c) {
        const int64_t here = offsets[c * buckets + b];
        offsets[c * buckets + b] = total;
        total += here;
      }
    }
    chunks.each([&](int64_t c, int64_t begin, int64_t end) {
      int64_t* mine = offsets.data() + c * buckets;
      for (int64_t i = begin; i < end; ++i) other[mine[digit(items[i])]++] = items[i];
    });
    std::swap(items, other);
  }
}

// Calls f(sorted, id_of, position_of, count) with the entries whose id is in [0, limit), sorted
// by id and, within an id, by position. The others are left out. They are sorted inside the
// memory of `order` and `scratch`, n each, which is the caller's for results (fresh memory costs
// more than a pass): `sorted` may be `order` itself, `scratch` is free again.
template <class Index, class F>
void with_sorted(const Index* ids, int64_t n, int64_t limit, int64_t* order, int64_t* scratch,
                 const F& f) {
  const Chunks chunks(n);
  std::vector<int64_t> starts(chunks.count + 1, 0), largest(chunks.count, 0);
  chunks.each([&](int64_t c, int64_t begin, int64_t end) {
    int64_t count = 0, most = 0;
    for (int64_t i = begin; i < end; ++i) {
      const bool valid = ids[i] >= 0 && ids[i] < limit;
      count += valid;
      most = valid ? std::max<int64_t>(most, ids[i]) : most;
    }
    starts[c + 1] = count;
    largest[c] = most;
  });
  for (int64_t c = 0; c < chunks.count; ++c) starts[c + 1] += starts[c];
  const int64_t count = starts[chunks.count];
  const int id_bits = bit_length(*std::max_element(largest.begin(), largest.end()));
  const int position_bits = bit_length(n);
  const Digits digits(id_bits);
  // Fills in order of position, leaving the invalid ones out; sorts; the result is in `to`.
  const auto sort_into = [&](auto* to, auto* other, const auto& make, const auto& id_of) {
    if (digits.passes % 2) std::swap(to, other);
    chunks.each([&](int64_t c, int64_t begin, int64_t end) {
      int64_t at = starts[c];
      for (int64_t i = begin; i < end; ++i)
        if (ids[i] >= 0 && ids[i] < limit) to[at++] = make(ids[i], i);
    });
    radix_sort(to, other, count, digits, id_of);
  };
  if (id_bits + position_bits <= 64) {
    const uint64_t mask = (uint64_t(1) << position_bits) - 1;
    const auto id_of = [=](uint64_t item) { return int64_t(item >> position_bits); };
    const auto position_of = [=](uint64_t item) { return int64_t(item & mask); };
    auto* items = reinterpret_cast<uint64_t*>(order);
    sort_into(items, reinterpret_cast<uint64_t*>(scratch),
              [=](int64_t id, int64_t i) { return (uint64_t(id) << position_bits) | uint64_t(i); },
              id_of);
    f(items, id_of, position_of, count);
  } else {
    const auto id_of = [](const Entry& item) { return item.id; };
    const auto position_of = [](const Entry& item) { return item.position; };
    auto items = uninitialized<Entry>(count), other = uninitialized<Entry>(count);
    sort_into(items.get(), other.get(), [](int64_t id, int64_t i) { return Entry{id, i}; }, id_of);
    f(items.get(), id_of, position_of, count);
  }
}

}  // namespace mmkd
