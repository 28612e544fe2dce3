// The contract that every implementation shares (segnet_deploy/passes/contract.json): a pooling
// index is a 2-bit code per 2x2 window, 0 1 / 2 3 in raster order. One INT32 holds the codes of 16
// channels, channel c in bits 2*(c%16) and 2*(c%16)+1; shape (N, ceil(C/16), Ho, Wo). Also the
// element types and layouts. No framework headers here.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SEGNET_HD __host__ __device__ __forceinline__
#else
#define SEGNET_HD inline
#endif

namespace segnet {

constexpr int kChannelsPerWord = 16;

// Element types of the CUDA kernels, and of the CPU kernels. C interfaces pass the numbers.
enum class DataKind : int32_t { kFloat32, kFloat16, kBFloat16, kInt8 };
enum class CpuElement : int32_t { kFloat32, kInt8, kUInt8 };

// (n, c, h, w), (n, h, w, c), or (n, h, w, c) with c padded to a multiple of 8.
enum class Layout : int32_t { kLinear, kChannelsLast, kChannelsLast8 };

// The sizes of the plane that is pooled, and whether odd ones are rounded up.
struct PoolShape {
  int64_t n, c, h, w;
  bool ceil_mode;

  SEGNET_HD int64_t pooled_h() const { return ceil_mode ? (h + 1) / 2 : h / 2; }
  SEGNET_HD int64_t pooled_w() const { return ceil_mode ? (w + 1) / 2 : w / 2; }
  // Windows that cover the whole plane. With an odd size that is rounded down, the last one is
  // not pooled; unpooling writes zeros there.
  SEGNET_HD int64_t cell_rows() const { return (h + 1) / 2; }
  SEGNET_HD int64_t cell_columns() const { return (w + 1) / 2; }
  SEGNET_HD int64_t words() const { return (c + kChannelsPerWord - 1) / kChannelsPerWord; }
};

}  // namespace segnet
