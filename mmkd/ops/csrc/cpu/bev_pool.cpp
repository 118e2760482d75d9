// bev_pool and its backward on the CPU: rows of channels at a time.
#include "sort.h"
#include "weighted_rows.h"

namespace mmkd {
namespace {

// The values in the type that sums are kept in. Each is read many times: halves are converted
// once, into `buffer`.
template <class T>
const acc_t<T>* widened(const Tensor& t, std::unique_ptr<acc_t<T>[]>& buffer) {
  const T* values = data<T>(t);
  if constexpr (std::is_same_v<T, acc_t<T>>) {
    return values;
  } else {
    buffer = uninitialized<acc_t<T>>(t.numel());
    auto* wide = buffer.get();
    for_each(t.numel(), 16384, [=](int64_t i) { wide[i] = acc_t<T>(values[i]); });
    return wide;
  }
}

constexpr int64_t kPointsAhead = 32;   // fetched before they are needed
constexpr int64_t kBytesAhead = 2048;  // of the result

// values[at] is needed soon; past the end of a tensor it is harmless.
template <class T>
MMKD_PREFETCHING void fetch(const T* values, uintptr_t at) {
  prefetch(reinterpret_cast<uintptr_t>(values) + at * sizeof(T));
}

// The rows that a sum runs over, their weights and where these came from; the memory is kept
// from one sum to the next.
template <class A>
struct Terms {
  std::vector<A> weights, sums;
  std::vector<int64_t> offsets, entries;
  int64_t count = 0;

  void reserve(int64_t most) {
    if (int64_t(weights.size()) >= most) return;
    weights.resize(most);
    offsets.resize(most);
    entries.resize(most);
  }
  // out[c] = sum of weight * rows[offset + c], in order.
  template <class T>
  void sum(const A* rows, int64_t channels, T* out) {
    if (count == 0) {
      std::fill(out, out + channels, T(0));
    } else if constexpr (std::is_same_v<T, A>) {
      sum_terms(weights.data(), offsets.data(), count, rows, channels, out);
    } else {
      sums.resize(channels);
      sum_terms(weights.data(), offsets.data(), count, rows, channels, sums.data());
      for (int64_t c = 0; c < channels; ++c) out[c] = T(sums[c]);
    }
  }
  // to[entry] = sum of rows[offset + c] * factors[c]; the weights are gone.
  template <class T>
  void dot(const A* rows, const A* factors, int64_t channels, T* to) {
    dots(offsets.data(), count, rows, factors, channels, weights.data());
    for (int64_t k = 0; k < count; ++k) to[entries[k]] = T(weights[k]);
  }
};

template <class A, class Index>
void gather_cell(const CellPoints<Index> points, const A* depth, int64_t channels, int64_t cell,
                 Terms<A>& terms) {
  const int64_t begin = points.begin(cell), end = points.end(cell);
  terms.reserve(end - begin);
  A* __restrict weight = terms.weights.data();
  int64_t* __restrict offset = terms.offsets.data();
  int64_t k = 0;
  for (int64_t at = begin; at < end; ++at) {
    if (at + kPointsAhead < points.points) fetch(depth, points.ranks_depth[at + kPointsAhead]);
    if (!points.valid(at)) continue;
    weight[k] = depth[points.ranks_depth[at]];
    offset[k] = points.ranks_feat[at] * channels;
    ++k;
  }
  terms.count = k;
}

template <class A, class Index>
void gather_pixel(const PixelPoints<Index> points, const A* depth, int64_t channels,
                  int64_t pixel, Terms<A>& terms) {
  const int64_t begin = points.begin(pixel), end = points.end(pixel), step = points.step();
  terms.reserve((end - begin) / step);
  A* __restrict weight = terms.weights.data();
  int64_t *__restrict offset = terms.offsets.data(), *__restrict entry = terms.entries.data();
  int64_t k = 0;
  for (int64_t at = begin; at < end; at += step) {
    const int64_t i = points.depth(at), cell = points.cell(i);
    if (cell < 0) continue;
    weight[k] = depth[i];
    offset[k] = cell * channels;
    entry[k] = i;
    ++k;
  }
  terms.count = k;
}

Tensor bev_pool(const Tensor& depth, const Tensor& features, const Tensor& ranks_depth,
                const Tensor& ranks_feat, const Tensor& starts, const Tensor&) {
  const PoolInputs in(depth, features, ranks_depth, ranks_feat, starts);
  const int64_t cells = in.cells(), channels = in.channels();
  Tensor out = new_output(in.features, {cells, channels}, in.features.scalar_type());
  dispatch_floating(in.features.scalar_type(), "bev_pool", [&](auto zero) {
    dispatch_index(in.starts.scalar_type(), "bev_pool", [&](auto index) {
      using T = decltype(zero);
      using A = acc_t<T>;
      std::unique_ptr<A[]> wide_depth, wide_features;
      const A* weights = widened<T>(in.depth, wide_depth);
      const A* rows = widened<T>(in.features, wide_features);
      const auto points = in.points<decltype(index)>();
      T* to = mutable_data<T>(out);
      torch::stable::parallel_for(0, cells, 256, [&](int64_t first, int64_t last) {
        Terms<A> terms;
        for (int64_t cell = first; cell < last; ++cell) {
          gather_cell(points, weights, channels, cell, terms);
          T* sums = to + cell * channels;
          for (int64_t c = 0; c < channels; c += 64 / sizeof(T))
            fetch(sums, c + kBytesAhead / sizeof(T));
          terms.sum(rows, channels, sums);
        }
      });
    });
  });
  return out;
}

std::tuple<Tensor, Tensor> bev_pool_backward(
    const Tensor& grad, const Tensor& depth, const Tensor& features, const Tensor& cells,
    const std::optional<Tensor>& pixels_of, const std::optional<Tensor>& order,
    const std::optional<Tensor>& starts) {
  const PoolGradInputs in(grad, depth, features, cells, pixels_of, order, starts);
  const int64_t channels = in.channels(), pixels = rows_of(in.features);
  Tensor grad_depth = new_zeros(in.depth, {in.depth.numel()}, in.depth.scalar_type());
  Tensor grad_features = new_output(in.features, {pixels, channels}, in.features.scalar_type());
  dispatch_floating(in.features.scalar_type(), "bev_pool_backward", [&](auto zero) {
    dispatch_index(in.cells.scalar_type(), "bev_pool_backward", [&](auto index) {
      using T = decltype(zero);
      using A = acc_t<T>;
      std::unique_ptr<A[]> wide_grad, wide_depth, wide_features;
      const A* grads = widened<T>(in.grad, wide_grad);
      const A* weights = widened<T>(in.depth, wide_depth);
      const A* rows = widened<T>(in.features, wide_features);
      const auto points = in.points<decltype(index)>();
      T* to_depth = mutable_data<T>(grad_depth);
      T* to_features = mutable_data<T>(grad_features);
      torch::stable::parallel_for(0, pixels, 64, [&](int64_t first, int64_t last) {
        Terms<A> terms;
        for (int64_t pixel = first; pixel < last; ++pixel) {
          gather_pixel(points, weights, channels, pixel, terms);
          terms.sum(grads, channels, to_features + pixel * channels);
          terms.dot(grads, rows + pixel * channels, channels, to_depth);
        }
      });
    });
  });
  return {grad_depth, grad_features};
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("bev_pool", TORCH_BOX(&bev_pool));
  m.impl("bev_pool_backward", TORCH_BOX(&bev_pool_backward));
}

}  // namespace
}  // namespace mmkd
