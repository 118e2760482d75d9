// Stable sort of (id, position) pairs by id: the index behind every segment operator.
#pragma once

#include <memory>
#include <numeric>
#include <utility>

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

// Sorts one bucket by the lowest `bits` of its ids, least significant digit first, so that equal
// ids keep their order. An even number of digits leaves the result in `items`, an odd one in
// `other`.
struct Digits {
  explicit Digits(int bits)
      : count((bits + 10) / 11), width(count ? (bits + count - 1) / count : 0) {}

  template <class Item, class Id>
  void sort(Item* items, Item* other, int64_t n, const Id& id_of) const {
    if (count == 2)  // most grids; with the number known, both are counted in one pass
      sort_digits<2>(items, other, n, id_of);
    else
      for (int pass = 0; pass < count; ++pass, std::swap(items, other))
        sort_digits<1>(items, other, n, [&](const Item& item) {
          return uint64_t(id_of(item)) >> (pass * width);
        });
  }

  template <int passes, class Item, class Id>
  void sort_digits(Item* items, Item* other, int64_t n, const Id& id_of) const {
    const uint64_t values = uint64_t(1) << width;
    std::vector<int64_t> next(values * passes, 0);
    for (int64_t i = 0; i < n; ++i) {
      const uint64_t id = id_of(items[i]);
      for (int pass = 0; pass < passes; ++pass)
        ++next[pass * values + (id >> (pass * width) & (values - 1))];
    }
    for (int pass = 0; pass < passes; ++pass, std::swap(items, other)) {
      int64_t* start = next.data() + pass * values;
      int64_t total = 0;
      for (uint64_t value = 0; value < values; ++value)
        total += std::exchange(start[value], total);
      for (int64_t i = 0; i < n; ++i)
        other[start[uint64_t(id_of(items[i])) >> (pass * width) & (values - 1)]++] = items[i];
    }
  }

  int count, width;
};

// Sorts by the highest bits into buckets that fit in a core's cache, in order of position, then
// each bucket by the bits below. Elements without an id in [0, limit) come last.
//
// `Item` is what moves, made by make(id, position). `items` holds the result; `other` as many.
template <class Item, class Index, class Make, class Id>
void bucket_sort(const Index* ids, int64_t n, int64_t limit, int64_t count, int id_bits,
                 Item* items, Item* other, const Make& make, const Id& id_of) {
  const int top = std::min({11, id_bits, bit_length(count / 2048)});
  const int64_t buckets = int64_t(1) << top;
  const auto bucket_of = [=](int64_t id) {
    return uint64_t(id) < uint64_t(limit) ? id >> (id_bits - top) : buckets;
  };
  const Digits below(id_bits - top);
  if (below.count % 2) std::swap(items, other);
  const Chunks chunks(n);
  std::vector<int64_t> next(chunks.count * (buckets + 1), 0), starts(buckets + 1);
  chunks.each([&](int64_t c, int64_t begin, int64_t end) {
    int64_t* mine = next.data() + c * (buckets + 1);
    for (int64_t i = begin; i < end; ++i) ++mine[bucket_of(ids[i])];
  });
  int64_t total = 0;
  for (int64_t b = 0; b <= buckets; ++b) {
    starts[b] = total;
    for (int64_t c = 0; c < chunks.count; ++c)
      total += std::exchange(next[c * (buckets + 1) + b], total);
  }
  chunks.each([&](int64_t c, int64_t begin, int64_t end) {
    int64_t* mine = next.data() + c * (buckets + 1);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t bucket = bucket_of(ids[i]);
      items[mine[bucket]++] = make(bucket < buckets ? ids[i] : 0, i);
    }
  });
  // A bucket belongs to the chunk that it begins in: as much work for each, of any sizes.
  chunks.each([&](int64_t, int64_t begin, int64_t end) {
    int64_t b = std::lower_bound(starts.begin(), starts.begin() + buckets, begin) - starts.begin();
    for (; b < buckets && starts[b] < end; ++b)
      below.sort(items + starts[b], other + starts[b], starts[b + 1] - starts[b], id_of);
  });
  if (below.count % 2) std::copy(items + count, items + n, other + count);
}

// Calls f(sorted, id_of, position_of, count) with `count` entries whose id is in [0, limit),
// sorted by id and, within an id, by position; behind them those without such an id, by
// position. They are sorted inside the memory of `order` and `scratch`, n each, which is the
// caller's for results (fresh memory costs more than a pass): `sorted` may be `order` itself,
// `scratch` is free again.
template <class Index, class F>
void with_sorted(const Index* ids, int64_t n, int64_t limit, int64_t* order, int64_t* scratch,
                 const F& f) {
  const Chunks chunks(n);
  std::vector<int64_t> counts(chunks.count, 0);
  std::vector<uint64_t> bits(chunks.count, 0);  // of any id
  chunks.each([&](int64_t c, int64_t begin, int64_t end) {
    uint64_t valid_ids = 0, any = 0;
    for (int64_t i = begin; i < end; ++i) {
      // 1 where 0 <= id < limit, without a comparison: so the compiler does several at a time.
      const uint64_t id = int64_t(ids[i]), valid = ((id - uint64_t(limit)) & ~id) >> 63;
      valid_ids += valid;
      any |= id & (0 - valid);
    }
    counts[c] = valid_ids;
    bits[c] = any;
  });
  const int64_t count = std::accumulate(counts.begin(), counts.end(), int64_t(0));
  const int id_bits = bit_length(*std::max_element(bits.begin(), bits.end()));
  const int position_bits = bit_length(n);
  if (id_bits + position_bits <= 64) {
    const uint64_t mask = (uint64_t(1) << position_bits) - 1;
    const auto make = [=](int64_t id, int64_t i) {
      return (uint64_t(id) << position_bits) | uint64_t(i);
    };
    const auto id_of = [=](uint64_t item) { return int64_t(item >> position_bits); };
    const auto position_of = [=](uint64_t item) { return int64_t(item & mask); };
    auto* items = reinterpret_cast<uint64_t*>(order);
    bucket_sort(ids, n, limit, count, id_bits, items, reinterpret_cast<uint64_t*>(scratch), make,
                id_of);
    f(items, id_of, position_of, count);
  } else {
    const auto make = [](int64_t id, int64_t i) { return Entry{id, i}; };
    const auto id_of = [](const Entry& item) { return item.id; };
    const auto position_of = [](const Entry& item) { return item.position; };
    auto items = uninitialized<Entry>(n), other = uninitialized<Entry>(n);
    bucket_sort(ids, n, limit, count, id_bits, items.get(), other.get(), make, id_of);
    f(items.get(), id_of, position_of, count);
  }
}

}  // namespace mmkd
