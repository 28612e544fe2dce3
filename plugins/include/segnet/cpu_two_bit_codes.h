// The op pair on the CPU with the contract's 2-bit codes (window_code.h), free of frameworks and
// of threads: whoever calls shares the parts out.
#pragma once

#include "segnet/window_code.h"

namespace segnet {

enum class CpuElement : int32_t { kFloat32, kInt8, kUInt8 };

// Both operations between a full plane (n, c, h, w), or (n, h, w, c), and a pooled one.
struct CpuPair {
  PoolShape s;
  CpuElement element;
  bool channels_last;

  // Rows of windows that can be worked on side by side: those of 16 channels, or of all.
  int64_t pool_rows() const { return s.n * groups() * s.pooled_h(); }
  int64_t unpool_rows() const { return s.n * groups() * s.cell_rows(); }
  int64_t groups() const { return channels_last ? 1 : s.words(); }
};

// x -> y and codes (n, ceil(c/16), ho, wo), rows first to last of pool_rows(). The first maximum
// wins; a NaN wins over what is before it, as in PyTorch.
void pool_part(const CpuPair& pair, const void* x, void* y, int32_t* codes, int64_t first,
               int64_t last) noexcept;

// y and codes -> x, rows first to last of unpool_rows(); zero where nothing was kept.
void unpool_part(const CpuPair& pair, const void* y, const int32_t* codes, void* x, int64_t first,
                 int64_t last) noexcept;

}  // namespace segnet
