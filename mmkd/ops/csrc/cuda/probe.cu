// Does the code in this library run on the GPUs here? Asked before its operators are registered.
#ifndef MMKD_EMULATE

#include <cuda_runtime.h>

#include <string>

namespace mmkd {
namespace {

__global__ void probe() {}

// What goes wrong on the current device. That it is busy or full is not the library's doing.
cudaError_t launch_probe() {
  if (cudaFree(nullptr) != cudaSuccess) return cudaSuccess;  // starts CUDA on the device
  probe<<<1, 1>>>();
  const cudaError_t launched = cudaGetLastError();
  return launched != cudaSuccess ? launched : cudaDeviceSynchronize();
}

}  // namespace
}  // namespace mmkd

// nullptr where a kernel runs on every visible GPU, else what went wrong on the first other.
extern "C" __attribute__((visibility("default"))) const char* mmkd_probe() {
  static std::string wrong;
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) return nullptr;  // no GPU, no driver
  for (int device = 0; device < count; ++device) {
    if (cudaSetDevice(device) != cudaSuccess) continue;
    const cudaError_t error = mmkd::launch_probe();
    if (error == cudaSuccess) continue;
    wrong = "GPU " + std::to_string(device) + ": " + cudaGetErrorString(error);
    return wrong.c_str();
  }
  return nullptr;
}

#endif
