// The launchers of cuda_kernels.h without a device, for a program of one source file: they plan as
// kernels.cu does, and add the number of threads to `launched`.
#pragma once

#include "dispatch.h"
#include "segnet/cuda_kernels.h"

namespace {

int64_t launched = 0;

}  // namespace

namespace segnet {
namespace {

struct CountThreads {
  cudaError_t operator()(Work work) const {
    return work == Work::kNone ? cudaSuccess : cudaErrorInvalidValue;
  }
  template <typename Operation>
  cudaError_t operator()(const Operation& operation) const {
    launched += operation.threads();
    return cudaSuccess;
  }
};

}  // namespace

cudaError_t max_pool(PoolShape shape, DataKind kind, Layout layout, const void* x, void* y,
                     int32_t* codes, cudaStream_t) noexcept {
  return pool(Planes{shape, kind, layout}, x, y, codes, CountThreads{});
}

cudaError_t max_unpool(PoolShape shape, DataKind kind, Layout layout, const void* y,
                       const int32_t* codes, void* x, cudaStream_t) noexcept {
  return unpool(Planes{shape, kind, layout}, y, codes, x, CountThreads{});
}

}  // namespace segnet

