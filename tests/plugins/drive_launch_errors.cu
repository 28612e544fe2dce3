// Calls the CUDA launchers while CUDA keeps an error of another caller, and when a launch fails. For
// test_gpu.py. Prints one line per question, its name and 1 or 0; without a device, that a launch
// fails.
#include <cstdio>

#include "segnet/cuda_kernels.h"

namespace {

constexpr size_t kBytes = 16 * 8 * 8 * sizeof(float);

void print(const char* question, bool answer) { std::printf("%s %d\n", question, answer); }

cudaError_t pool(void* full, void* pooled, void* codes) {
  return segnet::max_pool({1, 16, 8, 8, true}, segnet::DataKind::kFloat32, segnet::Layout::kLinear,
                          full, pooled, static_cast<int32_t*>(codes), nullptr);
}

}  // namespace

int main() {
  int devices = 0;
  void *full, *pooled, *codes;
  if (cudaGetDeviceCount(&devices) != cudaSuccess) {
    full = reinterpret_cast<void*>(4096);
    print("failure-is-returned", pool(full, full, full) != cudaSuccess);
    return 0;
  }
  for (void** buffer : {&full, &pooled, &codes})
    if (cudaMalloc(buffer, kBytes) != cudaSuccess) return 1;
  cudaSetDevice(devices);  // there is none with this number
  const cudaError_t other = cudaPeekAtLastError();
  print("other-error-exists", other != cudaSuccess);
  print("other-error-is-not-reported", pool(full, pooled, codes) == cudaSuccess);
  print("other-error-is-kept", cudaGetLastError() == other);
  print("work-succeeds", cudaDeviceSynchronize() == cudaSuccess);
  // A launch on the default stream fails while this thread captures another stream.
  cudaStream_t stream;
  if (cudaStreamCreate(&stream) != cudaSuccess) return 1;
  if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal) != cudaSuccess) return 1;
  print("failure-is-returned", pool(full, pooled, codes) != cudaSuccess);
  print("failure-is-not-kept", cudaPeekAtLastError() == cudaSuccess);
  return 0;
}
