// A k-d tree over points in three dimensions. tree_search.h says why nothing is approximate.
#pragma once

#include <algorithm>

#include "../kernels/neighbours.h"
#include "blocks.h"
#include "sort.h"

namespace mmkd {
namespace {

constexpr int kLeaf = 32;   // most points of a leaf

// Points that are not finite are near nothing and are left out.
template <class T>
bool all_finite(const T* p) {
  return std::isfinite(p[0]) && std::isfinite(p[1]) && std::isfinite(p[2]);
}

// The boxes of four nodes' points, and the least of their indices.
template <class T>
struct Four {
  T low[3][4], high[3][4];
  int32_t first[4];

  // Least squared distance from the query to a point in each box.
  MMKD_INLINE void nearest(const T* q, T* out) const {
    using P = Pack<T, 16>;
    for (int at = 0; at < 4; at += P::size) {
      typename P::type sum = {};
      for (int a = 0; a < 3; ++a) {
        const typename P::type under = P::at(low[a] + at) - q[a];
        const typename P::type over = q[a] - P::at(high[a] + at);
        const typename P::type gap = under > over ? under : over;
        const typename P::type positive = gap > 0 ? gap : gap - gap;
        sum += positive * positive;
      }
      P::at(out + at) = sum;
    }
  }
};

template <class T>
class Tree {
 public:
  // Points [begin, end) of (N, 3); they keep their indices.
  Tree(const T* points, int64_t begin, int64_t end) : begin(begin), end(end) {
    auto items = uninitialized<Item>(end - begin);
    for (int64_t p = begin; p < end; ++p)
      if (all_finite(points + p * 3))
        items[size++] = {{points[p * 3], points[p * 3 + 1], points[p * 3 + 2]}, int32_t(p)};
    while (size > (int64_t(kLeaf) << (2 * depth))) ++depth;
    const int64_t leaves = int64_t(1) << (2 * depth);
    inner = (leaves - 1) / 3;
    nodes = uninitialized<Four<T>>(inner + 1);
    coordinates = uninitialized<T>(3 * kLeaf * leaves);
    indices = uninitialized<int32_t>(kLeaf * leaves);
    int64_t node = 0;
    for (int level = 0; level < depth; ++level) {
      const int64_t count = int64_t(1) << (2 * level);
      for_each(count, 1, [&](int64_t i) { split(items.get(), level, i, nodes[node + i]); });
      node += count;
    }
    for_each(leaves, 64, [&](int64_t i) {
      store(i, items.get() + start(depth, i), items.get() + start(depth, i + 1));
    });
  }

  // Brings the numbers of queries into an order in which those at one node follow each other:
  // what they read of a large tree then stays in the cache.
  void put_in_order(const T* queries, std::vector<int64_t>& rows) const {
    if (depth < 5) return;  // all of it stays there
    const int64_t count = rows.size();
    auto places = uninitialized<int32_t>(count);
    for_each(count, 1024, [&](int64_t i) {
      int64_t node = 0;
      for (int level = 0; level < depth - 3; ++level) {
        T near[4];
        nodes[node].nearest(queries + rows[i] * 3, near);
        // Without branches, which would often be mispredicted.
        const int a = near[1] < near[0], b = 2 + (near[3] < near[2]);
        node = 4 * node + 1 + a + (b - a) * (near[b] < near[a]);
      }
      places[i] = int32_t(node);
    });
    auto numbers = uninitialized<int64_t>(count), scratch = uninitialized<int64_t>(count);
    with_sorted(places.get(), count, inner, numbers.get(), scratch.get(),
                [&](const auto* sorted, const auto&, const auto& position_of, int64_t) {
                  for (int64_t i = 0; i < count; ++i)
                    numbers[i] = rows[position_of(sorted[i])];
                });
    std::copy_n(numbers.get(), count, rows.data());
  }

  int points_of(int64_t leaf) const {
    return int(start(depth, leaf + 1) - start(depth, leaf));
  }

  int64_t begin, end, size = 0;  // points, and how many of them are finite
  int64_t inner = 0;             // nodes above the leaves
  int depth = 0;                // levels above the leaves
  std::unique_ptr<Four<T>[]> nodes;  // the children of node i are 4 i + 1 and on; then the leaves
  std::unique_ptr<T[]> coordinates;  // of kLeaf points for each leaf, in blocks of kLanes: x, y, z
  std::unique_ptr<int32_t[]> indices;

 private:
  struct alignas(16) Item {
    T at[3];
    int32_t index;
  };
  struct Box {
    T low[3], high[3];
    int32_t first;
  };

  // Where the points of node i of a level begin.
  int64_t start(int level, int64_t i) const { return (size * i) >> (2 * level); }

  static Box around(const Item* from, const Item* to) {
    constexpr T inf = std::numeric_limits<T>::infinity();
    Box box{{inf, inf, inf}, {-inf, -inf, -inf}, std::numeric_limits<int32_t>::max()};
    for (; from < to; ++from) {
      for (int a = 0; a < 3; ++a) {
        box.low[a] = std::min(box.low[a], from->at[a]);
        box.high[a] = std::max(box.high[a], from->at[a]);
      }
      box.first = std::min(box.first, from->index);
    }
    return box;
  }

  // Equal coordinates by index, so that of many points in one place each leaf has a range of the
  // indices.
  static bool before(const Item& a, const Item& b, int axis) {
    return (a.at[axis] < b.at[axis]) | ((a.at[axis] == b.at[axis]) & (a.index < b.index));
  }

  // As whole vectors: what was written in parts cannot be read again at once.
  static void exchange(Item* a, Item* b) {
    using P = Pack<char, 16>;
    char *x = reinterpret_cast<char*>(a), *y = reinterpret_cast<char*>(b);
    for (size_t at = 0; at < sizeof(Item); at += 16) {
      const typename P::type part = P::at(x + at);
      P::at(x + at) = P::at(y + at);
      P::at(y + at) = part;
    }
  }

  // std::nth_element without branches on the values, which are half of the time mispredicted.
  static void select(Item* from, Item* middle, Item* to, int axis) {
    const auto less = [axis](const Item& a, const Item& b) { return before(a, b, axis); };
    for (int round = 0; round < 40 && to - from > 16; ++round) {
      const int64_t step = (to - from) / 8;
      Item sample[7];
      for (int i = 0; i < 7; ++i) sample[i] = from[(i + 1) * step];
      std::nth_element(sample, sample + 3, sample + 7, less);
      const Item pivot = sample[3];
      Item* store = from;
      for (Item* p = from; p < to; ++p) {
        const bool below = less(*p, pivot);
        exchange(p, store);
        store += below;
      }
      if (middle < store)
        to = store;
      else
        from = store;
    }
    std::nth_element(from, middle, to, less);
  }

  static int longest(const T* sides) {
    return int(std::max_element(sides, sides + 3) - sides);
  }

  // Four parts, halved along the longest side and each half along what is then the longest.
  void split(Item* items, int level, int64_t i, Four<T>& four) {
    Item* bounds[5];
    for (int c = 0; c < 5; ++c) bounds[c] = items + start(level + 1, 4 * i + c);
    const Box whole = around(bounds[0], bounds[4]);
    T sides[3];
    for (int a = 0; a < 3; ++a) sides[a] = whole.high[a] - whole.low[a];
    int axis = longest(sides);
    select(bounds[0], bounds[2], bounds[4], axis);
    sides[axis] /= 2;
    axis = longest(sides);
    select(bounds[0], bounds[1], bounds[2], axis);
    select(bounds[2], bounds[3], bounds[4], axis);
    for (int c = 0; c < 4; ++c) {
      const Box box = around(bounds[c], bounds[c + 1]);
      for (int a = 0; a < 3; ++a) {
        four.low[a][c] = box.low[a];
        four.high[a][c] = box.high[a];
      }
      four.first[c] = box.first;
    }
  }

  // Fills a leaf up with NaN, which is near nothing.
  void store(int64_t leaf, const Item* from, const Item* to) {
    constexpr int lanes = kLanes<T>;
    for (int p = 0; p < kLeaf; ++p) {
      T* block = coordinates.get() + (leaf * kLeaf + p / lanes * lanes) * 3 + p % lanes;
      for (int a = 0; a < 3; ++a)
        block[a * lanes] = p < to - from ? from[p].at[a] : std::numeric_limits<T>::quiet_NaN();
      indices[leaf * kLeaf + p] = p < to - from ? from[p].index : 0;
    }
  }
};

}  // namespace
}  // namespace mmkd
