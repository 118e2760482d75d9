// Distances, and what travels between finding the nearest points and writing them.
#pragma once

#include <cstring>

#include "../common.h"

namespace mmkd {

// f(T{}) for the type of two clouds, once they go together.
template <class F>
void dispatch_coordinates(const Tensor& a, const Tensor& b, const char* op, F&& f) {
  STD_TORCH_CHECK(a.dim() == 3 && b.dim() == 3 && a.size(0) == b.size(0) &&
                      a.size(2) == b.size(2) && a.scalar_type() == b.scalar_type(),
                  op, ": expected (B, Q, C) and (B, N, C) of one dtype");
  STD_TORCH_CHECK(b.size(1) <= std::numeric_limits<int32_t>::max(), op, ": too many points");
  dispatch_wide(a.scalar_type(), op, f);
}

// Distance and index as one number that orders by distance, then by index: the bits of a float
// that is not negative order as the float does.
constexpr int64_t kNobody = 0x7f800000ffffffff;

MMKD_HD int64_t pack(float distance, int64_t index) {
  int32_t bits;
  std::memcpy(&bits, &distance, sizeof(bits));
  return (int64_t(bits) << 32) | index;
}

MMKD_HD void unpack(int64_t packed, int64_t& index, float& distance) {
  const int32_t bits = int32_t(packed >> 32);
  std::memcpy(&distance, &bits, sizeof(bits));
  index = packed == kNobody ? -1 : packed & 0xffffffff;
}

// Numbers of valid rows of padded samples, or none given.
class Lengths {
 public:
  Lengths(const std::optional<Tensor>& lengths, int64_t samples) {
    if (!lengths) return;
    STD_TORCH_CHECK(lengths->numel() == samples && lengths->scalar_type() == ScalarType::Long,
                    "knn: lengths must be (B,) int64");
    lengths_ = contiguous(*lengths);
  }
  const int64_t* data() const { return lengths_ ? mmkd::data<int64_t>(*lengths_) : nullptr; }

 private:
  std::optional<Tensor> lengths_;
};

MMKD_HD int64_t clamped(const int64_t* lengths, int64_t sample, int64_t most) {
  if (!lengths) return most;
  const int64_t length = lengths[sample];
  return length < 0 ? 0 : length < most ? length : most;
}

template <class T>
struct Clouds {
  const T *query, *points;                         // (B, Q, C); points as the kernel says
  const int64_t *query_lengths, *point_lengths;    // (B,) or nullptr
  int64_t queries, n, channels;
};

// What is selected from: distances and indices packed, or the distances themselves.
MMKD_HD void store(int64_t* out, float distance, int64_t index) {
  *out = distance < std::numeric_limits<float>::infinity() ? pack(distance, index) : kNobody;
}
MMKD_HD void store(double* out, double distance, int64_t) {
  *out = distance < std::numeric_limits<double>::infinity()
             ? distance
             : std::numeric_limits<double>::infinity();
}

// Distances of kTileRows queries of one sample to one point; points are (B, C, N). Row r of the
// tile is query (first_group * kTileRows + r), each sample padded to `groups` full groups.
constexpr int kTileRows = 4;

template <class T, class Stored>
struct DistanceTile {
  Clouds<T> in;
  Stored* tile;  // (groups in the tile * kTileRows, n)
  int64_t first_group, groups;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t group = i / in.n, p = i % in.n;
    const int64_t sample = (first_group + group) / groups,
                  q = (first_group + group) % groups * kTileRows;
    const T* point = in.points + sample * in.channels * in.n + p;
    const T* query[kTileRows];
    T sum[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      const int64_t row = q + r < in.queries ? q + r : in.queries - 1;
      query[r] = in.query + (sample * in.queries + row) * in.channels;
      sum[r] = 0;
    }
    for (int64_t c = 0; c < in.channels; ++c) {
      const T value = point[c * in.n];
      for (int r = 0; r < kTileRows; ++r) {
        const T difference = query[r][c] - value;
        sum[r] += difference * difference;
      }
    }
    const bool there = p < clamped(in.point_lengths, sample, in.n);
    const int64_t valid = clamped(in.query_lengths, sample, in.queries);
    for (int r = 0; r < kTileRows; ++r)
      store(tile + (group * kTileRows + r) * in.n + p,
            there && q + r < valid ? sum[r] : std::numeric_limits<T>::infinity(), p);
  }
};

// i = row of the tile * k + j: neighbour j of that query, from what was selected.
template <class T>
struct WriteNeighbours {
  const int64_t* found;    // packed for float, else the indices
  const T* far;            // nullptr for float
  int64_t *indices;        // (B, Q, k)
  T* distances;
  int64_t width, kept, k, queries, first_group, groups;  // width: of a row of found

  MMKD_HD void operator()(int64_t i) const {
    const int64_t row = i / k, j = i % k, group = first_group + row / kTileRows;
    const int64_t sample = group / groups, q = group % groups * kTileRows + row % kTileRows;
    if (q >= queries) return;
    int64_t index = -1;
    T distance = std::numeric_limits<T>::infinity();
    if (j < kept) read(row * width + j, index, distance);
    indices[(sample * queries + q) * k + j] = index;
    distances[(sample * queries + q) * k + j] = distance;
  }
  MMKD_HD void read(int64_t at, int64_t& index, float& distance) const {
    unpack(found[at], index, distance);
  }
  MMKD_HD void read(int64_t at, int64_t& index, double& distance) const {
    distance = far[at];
    index = distance < std::numeric_limits<double>::infinity() ? found[at] : -1;
  }
};

// Few neighbours in few channels: one query each, its nearest in registers. Points (B, N, C).
constexpr int kFew = 4;

template <class T>
struct FewNeighbours {
  Clouds<T> in;
  int64_t* indices;  // (B, Q, k)
  T* distances;
  int64_t k;

  MMKD_HD void operator()(int64_t i) const {
    const int64_t sample = i / in.queries, c = in.channels;
    const T *query = in.query + i * c, *point = in.points + sample * in.n * c;
    const int64_t n = i % in.queries < clamped(in.query_lengths, sample, in.queries)
                          ? clamped(in.point_lengths, sample, in.n)
                          : 0;
    T best[kFew];
    int64_t index[kFew];
    for (int j = 0; j < kFew; ++j) {
      best[j] = std::numeric_limits<T>::infinity();
      index[j] = -1;
    }
    for (int64_t p = 0; p < n; ++p, point += c) {
      T sum = 0;
      for (int64_t d = 0; d < c; ++d) sum += (query[d] - point[d]) * (query[d] - point[d]);
      if (!(sum < best[kFew - 1])) continue;
      best[kFew - 1] = sum;
      index[kFew - 1] = p;
      for (int j = kFew - 1; j > 0; --j) {
        // Strictly nearer: a tie stays behind the point of lower index.
        const bool nearer = best[j] < best[j - 1];
        const T distance = best[j];
        const int64_t who = index[j];
        best[j] = nearer ? best[j - 1] : best[j];
        index[j] = nearer ? index[j - 1] : index[j];
        best[j - 1] = nearer ? distance : best[j - 1];
        index[j - 1] = nearer ? who : index[j - 1];
      }
    }
    // More than kFew are asked for only of clouds without points.
    for (int64_t j = 0; j < k; ++j) {
      indices[i * k + j] = -1;
      distances[i * k + j] = std::numeric_limits<T>::infinity();
    }
    for (int j = 0; j < kFew; ++j) {
      if (j >= k) break;
      indices[i * k + j] = index[j];
      distances[i * k + j] = best[j];
    }
  }
};

}  // namespace mmkd
