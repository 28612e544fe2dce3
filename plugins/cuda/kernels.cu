// The CUDA kernel and its launchers (include/segnet/cuda_kernels.h). dispatch.h selects the
// operation that a kernel runs; C names for the launchers are in c_interface.cpp.
#include "segnet/cuda_kernels.h"

#include "dispatch.h"

namespace segnet {
namespace {

constexpr int kBlocks = 2;  // at least, per multiprocessor: at most 128 registers per thread

template <typename Operation>
__global__ void __launch_bounds__(kThreads, kBlocks) block_kernel(Operation operation) {
  extern __shared__ __align__(kSector) unsigned char memory[];
  operation(blockIdx.x, memory, [](auto work) {
    work(threadIdx.x);
    __syncthreads();
  });
}

struct Launch {
  cudaStream_t stream;

  // Without a launch the driver is not called, so that empty tensors need no device.
  cudaError_t operator()(Work work) const {
    return work == Work::kNone ? cudaSuccess : cudaErrorInvalidValue;
  }

  template <typename Operation>
  cudaError_t operator()(const Operation& operation) const {
    const uint32_t blocks = operation.blocks();
    if (blocks == 0) return cudaSuccess;
    block_kernel<<<blocks, kThreads, operation.shared_bytes(), stream>>>(operation);
    return cudaPeekAtLastError();
  }
};

}  // namespace

cudaError_t max_pool(PoolShape shape, DataKind kind, Layout layout, const void* x, void* y,
                     int32_t* codes, cudaStream_t stream) noexcept {
  return pool(Planes{shape, kind, layout}, x, y, codes, Launch{stream});
}

cudaError_t max_unpool(PoolShape shape, DataKind kind, Layout layout, const void* y,
                       const int32_t* codes, void* x, cudaStream_t stream) noexcept {
  return unpool(Planes{shape, kind, layout}, y, codes, x, Launch{stream});
}

}  // namespace segnet
