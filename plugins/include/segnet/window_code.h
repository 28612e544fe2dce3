// The layout of pooling indices that every implementation shares (see contract.json):
// a 2-bit code per 2x2 window, 0 1 / 2 3 in raster order, 16 channels to an INT32,
// channel c in bits 2*(c%16), shape (N, ceil(C/16), Ho, Wo). No framework headers here.
#pragma once

#include <cstdint>

namespace segnet {

constexpr int kChannelsPerWord = 16;

struct PoolShape {
  int64_t n, c, h, w;
  bool ceil_mode;

  int64_t pooled_h() const { return ceil_mode ? (h + 1) / 2 : h / 2; }
  int64_t pooled_w() const { return ceil_mode ? (w + 1) / 2 : w / 2; }
  int64_t words() const { return (c + kChannelsPerWord - 1) / kChannelsPerWord; }
};

}  // namespace segnet
