// knn in three dimensions through a tree.
#pragma once

#include <utility>

#include "tree_search.h"

namespace mmkd {
namespace {

// A tree is faster for so many queries and points at least, and neighbours at most.
constexpr int64_t kTreeQueries = 384, kTreePoints = 128, kTreeNeighbours = 256;

// Candidates, ordered by distance and then by index.
struct PackedCandidate {
  using Distance = float;
  static int64_t make(float distance, int64_t index) { return pack(distance, index); }
  static void read(int64_t c, int64_t& index, float& distance) { unpack(c, index, distance); }
};
struct PairCandidate {
  using Distance = double;
  static std::pair<double, int64_t> make(double distance, int64_t index) {
    return {distance, index};
  }
  static void read(const std::pair<double, int64_t>& c, int64_t& index, double& distance) {
    distance = c.first;
    index = c.second;
  }
};

// What a tree is searched for: the lowest by distance and then by index.
template <class C, class T>
struct ByDistance {
  using Item = decltype(C::make(T(0), 0));
  const T* query;

  // No point at an infinite distance comes before it.
  static Item nobody() { return C::make(std::numeric_limits<T>::infinity(), 0); }
  Item of(T square, int32_t index) const { return C::make(square, index); }
  Item least(T near, const Four<T>& four, int i) const {
    return C::make(near, four.first[i]);
  }
  T limit(const Item& worst) const {
    int64_t index;
    T square;
    C::read(worst, index, square);
    return square;
  }
};

template <int kBytes, class C, class T>
MMKD_INLINE void search_nearest(const Tree<T>& tree, const T* query, int64_t k, int64_t* indices,
                                T* squares) {
  using Rank = ByDistance<C, T>;
  typename Rank::Item items[kTreeNeighbours];
  Lowest<typename Rank::Item> found(items, k, Rank::nobody());
  search<kBytes>(tree, query, Rank{query}, found);
  for (int64_t j = 0; j < found.size; ++j) C::read(items[j], indices[j], squares[j]);
}

#define NEAREST(T, Candidate, kBytes, VERSION)                                                 \
  VERSION void nearest_in(const Tree<T>& tree, const T* query, int64_t k, int64_t* indices,    \
                          T* squares) {                                                        \
    search_nearest<kBytes, Candidate>(tree, query, k, indices, squares);                       \
  }
#define TREE_FLOAT(kBytes, VERSION) NEAREST(float, PackedCandidate, kBytes, VERSION)
#define TREE_DOUBLE(kBytes, VERSION) NEAREST(double, PairCandidate, kBytes, VERSION)
MMKD_VERSIONS(TREE_FLOAT)
MMKD_VERSIONS(TREE_DOUBLE)

#undef TREE_FLOAT
#undef TREE_DOUBLE
#undef NEAREST

template <class T>
void search_tree(const T* query, int64_t queries, const T* points, int64_t n, int64_t k,
                 int64_t* indices, T* squares) {
  const Tree<T> tree(points, 0, n);
  const auto one = [&](int64_t q) {
    nearest_in(tree, query + q * 3, std::min(k, n), indices + q * k, squares + q * k);
  };
  if (tree.depth < 5) return for_each(queries, 64, one);  // it fits in the cache
  const auto order = tree.order(query, queries, tree.depth - 2);
  for_each(queries, 64, [&](int64_t i) {
    prefetch(reinterpret_cast<uintptr_t>(query + order[std::min(i + 4, queries - 1)] * 3));
    one(order[i]);
  });
}

}  // namespace
}  // namespace mmkd
