// The CUDA kernel and its launchers (include/segnet/cuda_kernels.h). dispatch.h selects the
// operation that a kernel runs; C names for the launchers are in c_interface.cpp.
#include "segnet/cuda_kernels.h"

#include "dispatch.h"

namespace segnet {
namespace {

template <typename Operation>
__global__ void __launch_bounds__(kThreads, Operation::kResident)
    thread_kernel(Operation operation, uint32_t threads) {
  const uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
  if (thread < threads) operation(thread);
}

// Returns `error`, which a call of ours returned. CUDA also keeps it for the next caller of
// cudaGetLastError, which would take it for its own.
cudaError_t reported(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}

struct Launch {
  cudaStream_t stream;
  const Planes& on;

  cudaError_t operator()(Work work) const {
    return work == Work::kNone ? cudaSuccess : cudaErrorInvalidValue;
  }

  // Blocks are as small as needed for enough of them. The answer is that of the launch: an older
  // error of another caller is neither reported nor removed.
  template <typename Operation>
  cudaError_t operator()(Operation operation) const {
    auto threads = static_cast<uint32_t>(operation.threads());
    uint32_t size = kThreads;
    while (size > kFewestThreads && threads * int64_t{kThreads / size} < on.wanted_threads())
      size /= 2;
    void* arguments[] = {&operation, &threads};
    return reported(cudaLaunchKernel(thread_kernel<Operation>,
                                     dim3((threads - 1) / size + 1), dim3(size), arguments, 0,
                                     stream));
  }
};

// Returns the number of multiprocessors of the current device, 0 if it is unknown.
int processor_count() {
  int device = 0, count = 0;
  const auto kind = cudaDevAttrMultiProcessorCount;
  const bool known = reported(cudaGetDevice(&device)) == cudaSuccess &&
                     reported(cudaDeviceGetAttribute(&count, kind, device)) == cudaSuccess;
  return known ? count : 0;
}

// Without work CUDA is not called, so that empty tensors need no device.
Planes planes_of(PoolShape shape, DataKind kind, Layout layout) {
  Planes planes{shape, kind, layout};
  if (planes.work() == Work::kSome) planes.processors = processor_count();
  return planes;
}

}  // namespace

cudaError_t max_pool(PoolShape shape, DataKind kind, Layout layout, const void* x, void* y,
                     int32_t* codes, cudaStream_t stream) noexcept {
  const Planes on = planes_of(shape, kind, layout);
  return pool(on, x, y, codes, Launch{stream, on});
}

cudaError_t max_unpool(PoolShape shape, DataKind kind, Layout layout, const void* y,
                       const int32_t* codes, void* x, cudaStream_t stream) noexcept {
  const Planes on = planes_of(shape, kind, layout);
  return unpool(on, y, codes, x, Launch{stream, on});
}

}  // namespace segnet
