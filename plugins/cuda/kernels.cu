// The CUDA kernel and its launchers (include/segnet/cuda_kernels.h). dispatch.h selects the
// operation that a kernel runs; C names for the launchers are in c_interface.cpp.
#include "segnet/cuda_kernels.h"

#include "dispatch.h"

namespace segnet {
namespace {

template <typename Operation>
__global__ void __launch_bounds__(kThreads, Operation::kResident)
    block_kernel(Operation operation) {
  extern __shared__ __align__(kSector) unsigned char memory[];
  operation(blockIdx.x, memory, [](auto work) {
    work(threadIdx.x);
    __syncthreads();
  });
}

// Returns `error`, which a call of ours returned. CUDA also keeps it for the next caller of
// cudaGetLastError, which would take it for its own.
cudaError_t reported(cudaError_t error) {
  if (error != cudaSuccess) cudaGetLastError();
  return error;
}

struct Launch {
  cudaStream_t stream;

  cudaError_t operator()(Work work) const {
    return work == Work::kNone ? cudaSuccess : cudaErrorInvalidValue;
  }

  // The answer is that of the launch. An older error of another caller is neither reported nor
  // removed.
  template <typename Operation>
  cudaError_t operator()(Operation operation) const {
    const uint32_t blocks = operation.blocks();
    if (blocks == 0) return cudaSuccess;
    void* arguments[] = {&operation};
    return reported(cudaLaunchKernel(block_kernel<Operation>, dim3(blocks),
                                     dim3(operation.block_threads()), arguments,
                                     operation.shared_bytes(), stream));
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
  return pool(planes_of(shape, kind, layout), x, y, codes, Launch{stream});
}

cudaError_t max_unpool(PoolShape shape, DataKind kind, Layout layout, const void* y,
                       const int32_t* codes, void* x, cudaStream_t stream) noexcept {
  return unpool(planes_of(shape, kind, layout), y, codes, x, Launch{stream});
}

}  // namespace segnet
