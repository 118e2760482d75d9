// bev_pool and its backward on the CPU: rows of channels at a time.
#include <cstring>

#include "../kernels/bev_pool.h"
#include "sort.h"

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

// 16 bytes, as compilers of the GNU kind do arithmetic with. Loops over arrays of partial sums
// they would vectorise only in part, and keep the arrays in memory.
template <class A>
struct Vector {
  typedef A type __attribute__((vector_size(16)));
  static constexpr int size = 16 / sizeof(A);
};

template <class A>
typename Vector<A>::type load(const A* from, int at) {
  typename Vector<A>::type v;
  std::memcpy(&v, from + at * Vector<A>::size, sizeof(v));
  return v;
}

constexpr int kBlock = 16;

// out[j] = sum of weights[k] * rows[offsets[k] + j] for a few channels, so that the sums stay in
// registers.
template <class A>
void sum_block(const A* weights, const int64_t* offsets, int64_t count, const A* rows, A* out) {
  constexpr int vectors = kBlock / Vector<A>::size;
  typename Vector<A>::type sums[vectors] = {};
  for (int64_t k = 0; k < count; ++k)
    for (int v = 0; v < vectors; ++v) sums[v] += weights[k] * load(rows + offsets[k], v);
  std::memcpy(out, sums, sizeof(sums));
}

template <class A>
A dot(const A* a, const A* b, int64_t channels) {
  constexpr int vectors = kLanes / Vector<A>::size;
  typename Vector<A>::type sums[vectors] = {};
  int64_t c = 0;
  for (; c + kLanes <= channels; c += kLanes)
    for (int v = 0; v < vectors; ++v) sums[v] += load(a + c, v) * load(b + c, v);
  A lanes[kLanes];
  std::memcpy(lanes, sums, sizeof(sums));
  for (int k = 0; c + k < channels; ++k) lanes[k] += a[c + k] * b[c + k];
  return sum_lanes(lanes);
}

// The rows that a sum runs over, their weights and where these came from; the memory is kept
// from one sum to the next.
template <class A>
class Terms {
 public:
  // The terms among places begin, begin + step, ..: f(place, weight, offset, entry) fills in
  // one, or returns false where there is none.
  template <class F>
  void gather(int64_t begin, int64_t end, int64_t step, const F& f) {
    const auto most = size_t(std::max<int64_t>(0, (end - begin) / step));
    if (weights_.size() < most) {
      weights_.resize(most);
      offsets_.resize(most);
      entries_.resize(most);
    }
    A* __restrict weight = weights_.data();
    int64_t *__restrict offset = offsets_.data(), *__restrict entry = entries_.data(), k = 0;
    for (int64_t at = begin; at < end; at += step) k += f(at, weight[k], offset[k], entry[k]);
    count_ = k;
  }
  int64_t count() const { return count_; }
  int64_t offset(int64_t k) const { return offsets_[k]; }
  int64_t entry(int64_t k) const { return entries_[k]; }

  // out[c] = sum of weight * rows[offset + c], in order.
  template <class T>
  void sum(const A* rows, int64_t channels, T* out) const {
    int64_t c = 0;
    for (; c + kBlock <= channels; c += kBlock) {
      A sums[kBlock];
      sum_block(weights_.data(), offsets_.data(), count_, rows + c, sums);
      for (int j = 0; j < kBlock; ++j) out[c + j] = T(sums[j]);
    }
    for (; c < channels; ++c) {
      A sum = 0;
      for (int64_t k = 0; k < count_; ++k) sum += weights_[k] * rows[offsets_[k] + c];
      out[c] = T(sum);
    }
  }

 private:
  std::vector<A> weights_;
  std::vector<int64_t> offsets_, entries_;
  int64_t count_ = 0;
};

Tensor bev_pool(const Tensor& depth_in, const Tensor& feat_in, const Tensor& ranks_depth_in,
                const Tensor& ranks_feat_in, const Tensor& starts_in, const Tensor&) {
  const Tensor depth = contiguous(depth_in), feat = contiguous(feat_in),
               ranks_depth = contiguous(ranks_depth_in), ranks_feat = contiguous(ranks_feat_in),
               starts = contiguous(starts_in);
  check_pool(depth, feat, ranks_depth, ranks_feat, starts);
  const int64_t cells = starts.size(0) - 1, channels = feat.size(feat.dim() - 1);
  Tensor out = new_empty(feat, {cells, channels}, feat.scalar_type());
  prefer_huge_pages(out);
  dispatch_floating(feat.scalar_type(), "bev_pool", [&](auto zero) {
    dispatch_index(starts.scalar_type(), "bev_pool", [&](auto index) {
      using T = decltype(zero);
      using A = acc_t<T>;
      using Index = decltype(index);
      std::unique_ptr<A[]> wide_depth, wide_feat;
      const A* weights = widened<T>(depth, wide_depth);
      const A* rows = widened<T>(feat, wide_feat);
      const CellPoints<Index> points{data<Index>(ranks_depth), data<Index>(ranks_feat),
                                     data<Index>(starts), ranks_depth.size(0), depth.numel(),
                                     rows_of(feat)};
      T* to = mutable_data<T>(out);
      torch::stable::parallel_for(0, cells, 256, [&](int64_t first, int64_t last) {
        Terms<A> terms;
        for (int64_t cell = first; cell < last; ++cell) {
          terms.gather(points.begin(cell), points.end(cell), 1,
                       [&](int64_t at, A& weight, int64_t& offset, int64_t&) {
            if (!points.valid(at)) return false;
            weight = weights[points.ranks_depth[at]];
            offset = points.ranks_feat[at] * channels;
            return true;
          });
          terms.sum(rows, channels, to + cell * channels);
        }
      });
    });
  });
  return out;
}

std::tuple<Tensor, Tensor> bev_pool_backward(
    const Tensor& grad_in, const Tensor& depth_in, const Tensor& feat_in, const Tensor& cells_in,
    const std::optional<Tensor>& pixels_of, const std::optional<Tensor>& order_in,
    const std::optional<Tensor>& starts_in) {
  const Tensor grad = contiguous(grad_in), depth = contiguous(depth_in),
               feat = contiguous(feat_in), cells = contiguous(cells_in);
  std::optional<Tensor> order, starts;
  if (order_in) order = contiguous(*order_in);
  if (starts_in) starts = contiguous(*starts_in);
  check_pool_backward(grad, depth, feat, cells, pixels_of, order, starts);
  const int64_t channels = grad.size(1), pixels = rows_of(feat);
  Tensor grad_depth = new_zeros(depth, {depth.numel()}, depth.scalar_type());
  Tensor grad_feat = new_empty(feat, {pixels, channels}, feat.scalar_type());
  dispatch_floating(feat.scalar_type(), "bev_pool_backward", [&](auto zero) {
    dispatch_index(cells.scalar_type(), "bev_pool_backward", [&](auto index) {
      using T = decltype(zero);
      using A = acc_t<T>;
      using Index = decltype(index);
      std::unique_ptr<A[]> wide_grad, wide_depth, wide_feat;
      const A* grads = widened<T>(grad, wide_grad);
      const A* weights = widened<T>(depth, wide_depth);
      const A* rows = widened<T>(feat, wide_feat);
      const PixelPoints<Index> points{
          data<Index>(cells), order ? data<int64_t>(*order) : nullptr,
          starts ? data<int64_t>(*starts) : nullptr,
          starts ? Frustum{1, 1} : Frustum{depth.size(2), depth.size(3) * depth.size(4)},
          depth.numel(), grad.size(0)};
      T* to_depth = mutable_data<T>(grad_depth);
      T* to_feat = mutable_data<T>(grad_feat);
      torch::stable::parallel_for(0, pixels, 64, [&](int64_t first, int64_t last) {
        Terms<A> terms;
        for (int64_t pixel = first; pixel < last; ++pixel) {
          terms.gather(points.begin(pixel), points.end(pixel), points.step(),
                       [&](int64_t at, A& weight, int64_t& offset, int64_t& entry) {
            entry = points.depth(at);
            const int64_t cell = points.cell(entry);
            if (cell < 0) return false;
            weight = weights[entry];
            offset = cell * channels;
            return true;
          });
          terms.sum(grads, channels, to_feat + pixel * channels);
          for (int64_t k = 0; k < terms.count(); ++k)
            to_depth[terms.entry(k)] =
                T(dot(grads + terms.offset(k), rows + pixel * channels, channels));
        }
      });
    });
  });
  return {grad_depth, grad_feat};
}

STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m) {
  m.impl("bev_pool", TORCH_BOX(&bev_pool));
  m.impl("bev_pool_backward", TORCH_BOX(&bev_pool_backward));
}

}  // namespace
}  // namespace mmkd
