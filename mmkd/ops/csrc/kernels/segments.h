// Reductions of rows over segments, one output element per index: the CUDA side.
#pragma once

#include "../common.h"

namespace mmkd {

// A sorted index: segment s has the rows order[starts[s]] ... order[starts[s + 1] - 1].
// An index that does not fit its rows (a caller of torch.ops.mmkd.* can hand one in) is never
// followed out of bounds.
struct Segments {
  const int64_t *inverse, *order, *starts;
  int64_t rows, count;

  MMKD_HD int64_t begin(int64_t s) const { return clamp(starts[s]); }
  MMKD_HD int64_t end(int64_t s) const { return clamp(starts[s + 1]); }
  MMKD_HD int64_t clamp(int64_t place) const {
    return place < 0 ? 0 : place < rows ? place : rows;
  }
  // The row at a place of the order, or -1.
  MMKD_HD int64_t row(int64_t place) const {
    const int64_t r = order[place];
    return r >= 0 && r < rows ? r : -1;
  }
  // The segment of a row, or -1.
  MMKD_HD int64_t of(int64_t r) const {
    const int64_t s = inverse[r];
    return s >= 0 && s < count ? s : -1;
  }
};

inline Segments make_segments(const Tensor& inverse, const Tensor& order, const Tensor& starts) {
  STD_TORCH_CHECK(inverse.scalar_type() == ScalarType::Long &&
                      order.scalar_type() == ScalarType::Long &&
                      starts.scalar_type() == ScalarType::Long,
                  "a segment index is int64");
  STD_TORCH_CHECK(inverse.dim() == 1 && order.dim() == 1 && starts.dim() == 1 &&
                      inverse.numel() == order.numel() && starts.numel() > 0,
                  "inverse and order must be as long, and starts not empty");
  return {data<int64_t>(inverse), data<int64_t>(order), data<int64_t>(starts), order.size(0),
          starts.size(0) - 1};
}

// The tensors of an index, made contiguous and kept alive, and the view of them.
struct SegmentIndex {
  SegmentIndex(const Tensor& inverse, const Tensor& order, const Tensor& starts)
      : inverse(contiguous(inverse)), order(contiguous(order)), starts(contiguous(starts)),
        view(make_segments(this->inverse, this->order, this->starts)) {}

  Tensor inverse, order, starts;
  Segments view;
};

inline void check_rows(const Tensor& rows, int64_t count) {
  STD_TORCH_CHECK(rows.dim() == 2 && rows.size(0) == count, "expected ", count,
                  " rows of the index");
}

template <class T>
struct SegmentSum {
  const T* rows;
  Segments segments;
  int64_t channels;
  bool mean;
  T* out;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t s = i / channels, c = i % channels;
    const int64_t begin = segments.begin(s), end = segments.end(s);
    acc_t<T> sum = 0;
    for (int64_t j = begin; j < end; ++j) {
      const int64_t row = segments.row(j);
      if (row >= 0) sum += acc_t<T>(rows[row * channels + c]);
    }
    if (mean && end > begin) sum /= acc_t<T>(end - begin);
    out[i] = T(sum);
  }
};

template <class T>
struct GatherSegments {
  const T* values;
  Segments segments;
  int64_t channels;
  bool mean;
  T* out;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t s = segments.of(i / channels), c = i % channels;
    acc_t<T> value = 0;
    if (s >= 0) {
      value = acc_t<T>(values[s * channels + c]);
      if (mean) value /= acc_t<T>(segments.starts[s + 1] - segments.starts[s]);
    }
    out[i] = T(value);
  }
};

// The largest value of a segment and which of its rows holds it, the first on ties. A NaN is
// larger than anything, and the first one stays. An empty segment gives 0 and -1.
template <class T>
struct SegmentMax {
  const T* rows;
  Segments segments;
  int64_t channels;
  T* out;
  int32_t* arg;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t s = i / channels, c = i % channels;
    const int64_t begin = segments.begin(s), end = segments.end(s);
    acc_t<T> best = 0;
    int32_t best_at = -1;
    for (int64_t j = begin; j < end; ++j) {
      const int64_t row = segments.row(j);
      if (row < 0) continue;
      const acc_t<T> value = acc_t<T>(rows[row * channels + c]);
      if (best_at < 0 || (best == best && !(value <= best))) {
        best = value;
        best_at = int32_t(j - begin);
      }
    }
    out[i] = T(best);
    arg[i] = best_at;
  }
};

// Each row takes the gradient of the maxima it holds; i counts rows in sorted order.
template <class T>
struct SegmentMaxBackward {
  const T* grad;
  const int32_t* arg;
  Segments segments;
  int64_t channels;
  T* out;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t place = i / channels, c = i % channels;
    const int64_t row = segments.row(place);
    if (row < 0) return;
    const int64_t s = segments.of(row);
    const bool holds = s >= 0 && arg[s * channels + c] == place - segments.starts[s];
    out[row * channels + c] = holds ? grad[s * channels + c] : T(0);
  }
};

}  // namespace mmkd
