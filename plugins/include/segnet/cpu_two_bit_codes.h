// The interface of the CPU kernels with the contract's 2-bit codes (window_code.h). They start no
// threads: the caller divides the rows. No framework headers here. The kernels are in
// plugins/cpu/two_bit_codes.cpp, their caller is plugins/onnxruntime/cpu.cpp.
#pragma once

#include "segnet/window_code.h"

namespace segnet {

// Both operations between a full plane, (n, c, h, w) or (n, h, w, c), and the pooled one.
struct CpuPair {
  PoolShape s;
  CpuElement element;
  bool channels_last;

  // Rows of windows that are independent of each other: a row covers 16 channels of an image in
  // NCHW, all channels in NHWC.
  int64_t pool_rows() const { return s.n * groups() * s.pooled_h(); }
  int64_t unpool_rows() const { return s.n * groups() * s.cell_rows(); }
  int64_t groups() const { return channels_last ? 1 : s.words(); }
};

// x -> y and codes (n, ceil(c/16), ho, wo), rows [first, last) of pool_rows(). The first maximum
// wins; the last NaN wins over all, as in PyTorch. The caller checks the sizes, and does not call
// this for an empty y. Returns false if there is no memory for the codes of a pixel.
bool pool_part(const CpuPair& pair, const void* x, void* y, int32_t* codes, int64_t first,
               int64_t last) noexcept;

// y and codes -> x, rows [first, last) of unpool_rows(). Every element of these rows is written:
// a pooled value, or 0. Any code is legal: bits beyond the channels are ignored, and a code for a
// position outside the plane writes nothing. Returns as above.
bool unpool_part(const CpuPair& pair, const void* y, const int32_t* codes, void* x, int64_t first,
                 int64_t last) noexcept;

}  // namespace segnet
