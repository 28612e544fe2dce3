// The launchers of the kernel library: stream last, no allocation, no sync.
#pragma once

#include <cuda_runtime_api.h>

#include "segnet/window_code.h"

namespace segnet {

// x -> y, pooled, in the same layout, and codes (n, ceil(c/16), ho, wo).
cudaError_t max_pool(PoolShape shape, DataKind kind, Layout layout, const void* x, void* y,
                     int32_t* codes, cudaStream_t stream) noexcept;

// y and codes -> x; every element is written once.
cudaError_t max_unpool(PoolShape shape, DataKind kind, Layout layout, const void* y,
                       const int32_t* codes, void* x, cudaStream_t stream) noexcept;

}  // namespace segnet
