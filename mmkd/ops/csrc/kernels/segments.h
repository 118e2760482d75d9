// Segments of rows: a sorted index, and the sum over its segments.
#pragma once

#include "weighted_rows.h"

namespace mmkd {

// Segment s has the rows order[starts[s]] ... order[starts[s + 1] - 1].
struct Segments : Intervals<int64_t> {
  static constexpr bool kPlain = true;
  static constexpr int kFetch = 256;
  const int64_t *inverse, *order;

  // The row at a place of the order, or -1.
  MMKD_HD int64_t row_at(int64_t place) const {
    const int64_t r = order[place];
    return r >= 0 && r < places ? r : -1;
  }
  // The segment of a row, or -1.
  MMKD_HD int64_t of(int64_t r) const {
    const int64_t s = inverse[r];
    return s >= 0 && s < count ? s : -1;
  }

  MMKD_HD int64_t entry(int64_t, int64_t place) const { return row_at(place); }
  MMKD_HD int64_t row(int64_t e) const { return e; }
  MMKD_HD int weight(int64_t) const { return 1; }
  uintptr_t needs(int64_t place, uintptr_t rows, int64_t row_bytes) const {
    return rows + order[place] * row_bytes;
  }
};

// The tensors of an index, made contiguous and kept alive, and the view of them.
struct SegmentIndex {
  SegmentIndex(const Tensor& inverse_in, const Tensor& order_in, const Tensor& starts_in)
      : inverse(contiguous(inverse_in)), order(contiguous(order_in)),
        starts(contiguous(starts_in)) {
    require(inverse.scalar_type() == ScalarType::Long &&
                order.scalar_type() == ScalarType::Long &&
                starts.scalar_type() == ScalarType::Long,
            "a segment index is int64");
    require(inverse.dim() == 1 && order.dim() == 1 && inverse.numel() == order.numel(),
            "inverse and order must be as long");
    view = {make_intervals<int64_t>(starts, order.numel()), data<int64_t>(inverse),
            data<int64_t>(order)};
  }

  Tensor inverse, order, starts;
  Segments view;
};

inline void check_rows(const Tensor& rows, int64_t count) {
  require(rows.dim() == 2 && rows.size(0) == count, "expected ", count,
          " rows of the index");
}

namespace {

Tensor segment_sum(const Tensor& rows_in, const Tensor& inverse, const Tensor& order,
                          const Tensor& starts, bool mean) {
  const Device device(rows_in);
  const Tensor rows = contiguous(rows_in);
  const SegmentIndex index(inverse, order, starts);
  check_rows(rows, index.view.places);
  Tensor out = new_output(rows, {index.view.count, rows.size(1)}, rows.scalar_type());
  dispatch_floating(rows.scalar_type(), "segment_sum", [&](auto zero) {
    weighted_rows<decltype(zero)>(device, index.view, rows, {out, mean});
  });
  return out;
}

}  // namespace
}  // namespace mmkd
