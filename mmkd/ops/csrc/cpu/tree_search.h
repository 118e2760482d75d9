// The few points of lowest rank around a query: by distance and index for knn, by index alone
// inside a shell for ball_query.
//
// Nothing is approximate. The least squared distance to a node's box is computed by the formula of
// the points themselves: rounding is monotonic, so that for low <= p <= high and q < low, say,
// p - q >= low - q holds for the rounded differences too, and likewise for their squares and for
// the sums. Hence the rounded distance to a box is at most the rounded distance to any point in it,
// without a margin (nothing is fused, see build.py), and the largest one is at least that.
#pragma once

#include "tree.h"

namespace mmkd {
namespace {

constexpr int kDepth = 14;  // most levels above the leaves, for 2^31 points

// The items of lowest rank so far, in order, in the caller's memory.
template <class Item>
struct Lowest {
  Lowest(Item* items, int64_t room, Item nobody) : items(items), room(room), worst(nobody) {}

  // Only an item below `worst`.
  MMKD_INLINE void add(const Item& item) {
    int64_t at = size < room ? size++ : size - 1;
    for (; at > 0 && item < items[at - 1]; --at) items[at] = items[at - 1];
    items[at] = item;
    if (size == room) worst = items[size - 1];
  }

  Item* items;
  int64_t room, size = 0;
  Item worst;  // what is not below it is not among them
};

template <int kBytes, class T, class Rank>
MMKD_INLINE void search_leaf(const Tree<T>& tree, int64_t leaf, const T* query, const Rank& rank,
                             Lowest<typename Rank::Item>& found) {
  T squares[kLeaf];
  int32_t places[kLeaf + 1];
  const int close = scan_blocks<kBytes>(query, tree.coordinates.get() + leaf * 3 * kLeaf,
                                        blocks_of<T>(tree.points_of(leaf)),
                                        rank.limit(found.worst), squares, places);
  for (int i = 0; i < close; ++i) {
    const auto item = rank.of(squares[places[i]], tree.indices[leaf * kLeaf + places[i]]);
    if (item < found.worst) found.add(item);
  }
}

// Adds the points of lowest rank; false if that takes more than `visits` nodes, which are counted
// down, and what was found is then of no use. `rank` has
//   of(square, index): what is compared;
//   least(near, first): at most of() of any point at least so far away, of at least that index;
//   limit(worst): the largest square of a rank below `worst`.
template <int kBytes, class T, class Rank>
MMKD_INLINE bool search(const Tree<T>& tree, const T* query, const Rank& rank, int64_t& visits,
                        Lowest<typename Rank::Item>& found) {
  using Key = typename Rank::Item;
  if (tree.size == 0 || !all_finite(query)) return true;
  // Nodes to come, by rank within a level. Not pairs: one that was just written in parts and
  // is moved as a whole waits for the memory.
  int64_t nodes[kDepth * 3 + 4];
  Key keys[kDepth * 3 + 4];
  int waiting = 0;
  for (int64_t node = 0; visits-- > 0; node = nodes[waiting]) {
    if (node < tree.inner) {
      const Four<T>& four = tree.nodes[node];
      T near[4];
      four.nearest(query, near);
      const int from = waiting;
      for (int i = 0; i < 4; ++i) {
        const Key key = rank.least(near[i], four.first[i]);
        if (!(key < found.worst)) continue;
        int at = waiting++;
        for (; at > from && keys[at - 1] < key; --at) {
          keys[at] = keys[at - 1];
          nodes[at] = nodes[at - 1];
        }
        keys[at] = key;
        nodes[at] = 4 * node + 1 + i;
      }
    } else {
      search_leaf<kBytes>(tree, node - tree.inner, query, rank, found);
    }
    do {
      if (waiting == 0) return true;
      --waiting;
    } while (!(keys[waiting] < found.worst));
  }
  return false;
}

}  // namespace
}  // namespace mmkd
