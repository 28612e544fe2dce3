// The interface of the CUDA kernels: launchers that never allocate, synchronise, throw or print.
// The stream is the last argument. The kernels are in plugins/cuda/kernels.cu.
#pragma once

#include <cuda_runtime_api.h>

#include "segnet/window_code.h"

namespace segnet {

// x -> y in the same layout, and codes (n, ceil(c/16), ho, wo). If a size is 0, nothing is launched
// and cudaSuccess is returned. Returns cudaErrorInvalidValue for a negative size, an unknown kind
// or layout, a null tensor that is not empty, and if n * ceil(c/16) * h * w is 2^29 or more, since
// the kernels number threads in 32 bits.
cudaError_t max_pool(PoolShape shape, DataKind kind, Layout layout, const void* x, void* y,
                     int32_t* codes, cudaStream_t stream) noexcept;

// y and codes -> x; every element of x is written once. Returns as above.
cudaError_t max_unpool(PoolShape shape, DataKind kind, Layout layout, const void* y,
                       const int32_t* codes, void* x, cudaStream_t stream) noexcept;

}  // namespace segnet
