// The launchers of the kernel library: NCHW data, stream last, no allocation, no sync.
#pragma once

#include <cuda_runtime_api.h>

#include "segnet/window_code.h"

namespace segnet {

enum class DataKind : int32_t { kFloat32, kFloat16, kBFloat16, kInt8 };

// x (n, c, h, w) -> y (n, c, ho, wo) and codes (n, ceil(c/16), ho, wo).
cudaError_t max_pool(PoolShape shape, DataKind kind, const void* x, void* y, int32_t* codes,
                     cudaStream_t stream) noexcept;

// y (n, c, ho, wo) and codes -> x (n, c, h, w); every element is written once.
cudaError_t max_unpool(PoolShape shape, DataKind kind, const void* y, const int32_t* codes, void* x,
                       cudaStream_t stream) noexcept;

}  // namespace segnet
