// knn in three dimensions through a tree.
#pragma once

#include <atomic>
#include <tuple>

#include "tree_search.h"

namespace mmkd {
namespace {

// A tree is faster for so many queries and points at least, and neighbours at most.
constexpr int64_t kTreeQueries = 384, kTreePoints = 128, kTreeNeighbours = 256;

// An item that orders by distance and then by index.
template <class T>
struct Candidate {
  using Item = std::pair<T, int64_t>;
  static Item make(T distance, int64_t index) { return {distance, index}; }
  static void read(const Item& item, int64_t& index, T& distance) {
    std::tie(distance, index) = item;
  }
};
template <>
struct Candidate<float> {
  using Item = int64_t;
  static Item make(float distance, int64_t index) { return pack(distance, index); }
  static void read(Item item, int64_t& index, float& distance) { unpack(item, index, distance); }
};

// What a tree is searched for: the lowest by distance and then by index.
template <class T>
struct ByDistance {
  using Item = typename Candidate<T>::Item;

  // No point at an infinite distance comes before it.
  static Item nobody() { return Candidate<T>::make(std::numeric_limits<T>::infinity(), 0); }
  Item of(T square, int32_t index) const { return Candidate<T>::make(square, index); }
  Item least(T near, int32_t first) const { return of(near, first); }
  T limit(const Item& worst) const {
    int64_t index;
    T square;
    Candidate<T>::read(worst, index, square);
    return square;
  }
};

// False, and nothing is written, if it takes more than `visits` nodes of the tree.
template <int kBytes, class T>
MMKD_INLINE bool search_nearest(const Tree<T>& tree, const T* query, int64_t k, int64_t visits,
                                int64_t* indices, T* squares) {
  typename Candidate<T>::Item items[kTreeNeighbours];
  Lowest<typename Candidate<T>::Item> found(items, k, ByDistance<T>::nobody());
  if (!search<kBytes>(tree, query, ByDistance<T>(), visits, found)) return false;
  for (int64_t j = 0; j < found.size; ++j) Candidate<T>::read(items[j], indices[j], squares[j]);
  return true;
}

#define NEAREST(T, kBytes, VERSION)                                                            \
  VERSION bool nearest_in(const Tree<T>& tree, const T* query, int64_t k, int64_t visits,      \
                          int64_t* indices, T* squares) {                                      \
    return search_nearest<kBytes>(tree, query, k, visits, indices, squares);                   \
  }
#define TREES(kBytes, VERSION) NEAREST(float, kBytes, VERSION) NEAREST(double, kBytes, VERSION)
MMKD_VERSIONS(TREES)

// The neighbours of the queries whose numbers are `rows`; leaves in it those for which it is faster
// to compare all points: they are as far from many points, or enough others were.
template <class T>
void search_tree(const T* query, std::vector<int64_t>& rows, const T* points, int64_t n, int64_t k,
                 int64_t* indices, T* squares) {
  const Tree<T> tree(points, 0, n);
  tree.put_in_order(query, rows);
  const int64_t queries = rows.size(), visits = 16 + k / 4 + n / (8 * kLeaf);
  std::vector<char> done(queries);
  std::atomic<int64_t> failed{0};
  for_each(queries, 64, [&](int64_t i) {
    if (failed.load(std::memory_order_relaxed) > queries / 8) return;
    const int64_t q = rows[i], next = rows[std::min(i + 4, queries - 1)];
    prefetch(uintptr_t(query + next * 3));
    prefetch(uintptr_t(indices + next * k));
    prefetch(uintptr_t(squares + next * k));
    done[i] = nearest_in(tree, query + q * 3, std::min(k, n), visits, indices + q * k,
                         squares + q * k);
    if (!done[i]) failed.fetch_add(1, std::memory_order_relaxed);
  });
  size_t left = 0;
  for (int64_t i = 0; i < queries; ++i)
    if (!done[i]) rows[left++] = rows[i];
  rows.resize(left);
}

}  // namespace
}  // namespace mmkd
