// CUDA side: launches on the current stream of the tensor's device.
//
// Kernels are functors of one index from ../kernels, each writing only its own outputs (no
// atomics, no order), or phases of one block. The same .cu files also compile as plain C++
// (-DMMKD_EMULATE): the threads then run one after the other on the CPU, in an order that is
// chosen at run time, which is how the CUDA path is tested and sanitized without a GPU.
#pragma once

#include <algorithm>

#include "../common.h"

#ifndef MMKD_EMULATE
#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>
#define MMKD_DEVICE_IMPL(m) STABLE_TORCH_LIBRARY_IMPL(mmkd, CUDA, m)
#else
#include "emulated_order.h"
#define MMKD_DEVICE_IMPL(m) STABLE_TORCH_LIBRARY_IMPL(mmkd, CPU, m)
#endif

namespace mmkd {

#ifndef MMKD_EMULATE

// Makes the device of `like` current and holds its current stream.
class Device {
 public:
  explicit Device(const Tensor& like) : guard_(like.get_device_index()) {
    void* stream = nullptr;
    TORCH_ERROR_CODE_CHECK(
        aoti_torch_get_current_cuda_stream(like.get_device_index(), &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }
  cudaStream_t stream() const { return stream_; }

  // One int64 of a device tensor, which waits for the stream.
  int64_t read(const Tensor& t, int64_t at) const {
    int64_t value;
    STD_CUDA_CHECK(cudaMemcpyAsync(&value, data<int64_t>(t) + at, sizeof(value),
                                   cudaMemcpyDeviceToHost, stream_));
    STD_CUDA_CHECK(cudaStreamSynchronize(stream_));
    return value;
  }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

template <class F>
__global__ void for_each_kernel(int64_t n, F f) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

// f(i) for i in [0, n), one thread each.
template <class F>
void for_each(const Device& device, int64_t n, const F& f) {
  if (n == 0) return;
  constexpr int64_t threads = 256, most_blocks = 1 << 20;
  const auto blocks = std::min((n + threads - 1) / threads, most_blocks);
  for_each_kernel<<<dim3(blocks), dim3(threads), 0, device.stream()>>>(n, f);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

constexpr int kBlockThreads = 512;

// Inside a block: f(t) for each of its threads, then a barrier.
template <class F>
__device__ void each_thread(const F& f) {
  f(int(threadIdx.x));
  __syncthreads();
}

template <class F>
__global__ void __launch_bounds__(kBlockThreads) for_each_block_kernel(F f) {
  __shared__ typename F::Shared shared;
  f(int64_t(blockIdx.x), shared);
}

// f(block, shared) for `blocks` blocks of kBlockThreads; what f keeps between two each_thread
// phases lives in F::Shared or in tensors.
template <class F>
void for_each_block(const Device& device, int64_t blocks, const F& f) {
  if (blocks == 0) return;
  for_each_block_kernel<<<dim3(blocks), dim3(kBlockThreads), 0, device.stream()>>>(f);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

#define MMKD_BLOCK __device__

#else  // MMKD_EMULATE: the same, one index after the other

class Device {
 public:
  explicit Device(const Tensor&) {}
  int64_t read(const Tensor& t, int64_t at) const { return data<int64_t>(t)[at]; }
};

template <class F>
void for_each(const Device&, int64_t n, const F& f) {
  in_emulated_order(n, f);
}

constexpr int kBlockThreads = 512;

template <class F>
void each_thread(const F& f) {
  in_emulated_order(kBlockThreads, [&](int64_t t) { f(int(t)); });
}

template <class F>
void for_each_block(const Device&, int64_t blocks, const F& f) {
  in_emulated_order(blocks, [&](int64_t b) {
    typename F::Shared shared;
    f(b, shared);
  });
}

#define MMKD_BLOCK inline

#endif

// Torch's own sort, running sum and smallest-k, through the stable dispatcher: they run on the
// current stream of the current device.

// (sorted values, where each came from), last axis, ascending, equal values in order.
inline std::tuple<Tensor, Tensor> stable_sort(const Tensor& t) {
  using torch::stable::detail::from;
  StableIValue stack[] = {from(t), from(std::optional<bool>(true)), from(int64_t(-1)),
                          from(false)};
  TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::sort", "stable", stack, TORCH_ABI_VERSION));
  auto values = torch::stable::detail::to<Tensor>(stack[0]);
  return {values, torch::stable::detail::to<Tensor>(stack[1])};
}

// Inclusive running sum of an int64 vector.
inline Tensor cumsum(const Tensor& t) {
  using torch::stable::detail::from;
  StableIValue stack[] = {from(t), from(int64_t(0)), from(std::nullopt)};
  TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::cumsum", "", stack, TORCH_ABI_VERSION));
  return torch::stable::detail::to<Tensor>(stack[0]);
}

// The k smallest of the last axis, ascending.
inline Tensor smallest(const Tensor& t, int64_t k) {
  using torch::stable::detail::from;
  StableIValue stack[] = {from(t), from(k), from(int64_t(-1)), from(false), from(true)};
  TORCH_ERROR_CODE_CHECK(
      torch_call_dispatcher("aten::topk", "", stack, TORCH_ABI_VERSION));
  auto values = torch::stable::detail::to<Tensor>(stack[0]);
  torch::stable::detail::to<Tensor>(stack[1]);
  return values;
}

}  // namespace mmkd
