// The layout of pooling indices that every implementation shares (see contract.json):
// a 2-bit code per 2x2 window, 0 1 / 2 3 in raster order, 16 channels to an INT32,
// channel c in bits 2*(c%16), shape (N, ceil(C/16), Ho, Wo). No framework headers here.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define SEGNET_HD __host__ __device__ __forceinline__
#else
#define SEGNET_HD inline
#endif

namespace segnet {

constexpr int kChannelsPerWord = 16;

enum class DataKind : int32_t { kFloat32, kFloat16, kBFloat16, kInt8 };

// (n, c, h, w), (n, h, w, c), or (n, h, w, c) with c padded to a multiple of 8.
enum class Layout : int32_t { kLinear, kChannelsLast, kChannelsLast8 };

// The plane that is pooled, (n, c, h, w), and the rounding of odd sizes.
struct PoolShape {
  int64_t n, c, h, w;
  bool ceil_mode;

  SEGNET_HD int64_t pooled_h() const { return ceil_mode ? (h + 1) / 2 : h / 2; }
  SEGNET_HD int64_t pooled_w() const { return ceil_mode ? (w + 1) / 2 : w / 2; }
  // Windows that cover the whole plane, those beyond the pooled part (odd, floor) included.
  SEGNET_HD int64_t cell_rows() const { return (h + 1) / 2; }
  SEGNET_HD int64_t cell_columns() const { return (w + 1) / 2; }
  SEGNET_HD int64_t words() const { return (c + kChannelsPerWord - 1) / kChannelsPerWord; }
};

}  // namespace segnet
