// The op pair on the CPU, free of frameworks: planes in rows, or channels packed side by side.
#pragma once

#include "segnet/export.h"
#include "segnet/window_code.h"

namespace segnet {

enum class CpuKind : int32_t { kFloat32, kInt8, kUInt8 };

// `planes` planes of h x w pixels; a pixel is `pack` elements side by side: 1 is NCHW, with
// planes = n * c; 4, 8 and 16 are channels packed, with planes = n * ceil(c / pack).
// A plane starts `full_step` elements after the one before, a pooled plane `pooled_step`.
struct CpuPlanes {
  int64_t planes, h, w, pack, full_step, pooled_step;
  bool ceil_mode;

  int64_t pooled_h() const { return ceil_mode ? (h + 1) / 2 : h / 2; }
  int64_t pooled_w() const { return ceil_mode ? (w + 1) / 2 : w / 2; }
};

}  // namespace segnet

// x -> y and codes, one byte per element of y, in y's layout without gaps between planes:
// the place 0 1 / 2 3 of the first maximum. A NaN wins over what is before it, as in PyTorch.
// Each call uses up to `threads` threads and returns 0, or 1 where it has no such kind or pack.
SEGNET_EXPORT int segnet_cpu_pool(int kind, const void* x, void* y, uint8_t* codes, int64_t planes,
                                  int64_t h, int64_t w, int64_t pack, int64_t full_step,
                                  int64_t pooled_step, int ceil_mode, int threads);

// y and codes -> x; every element of x is written, zero where nothing was kept.
SEGNET_EXPORT int segnet_cpu_unpool(int kind, const void* y, const uint8_t* codes, void* x,
                                    int64_t planes, int64_t h, int64_t w, int64_t pack,
                                    int64_t full_step, int64_t pooled_step, int ceil_mode,
                                    int threads);

// logits (classes, size) -> labels (size): the first maximum. `step` elements lie between
// classes, of which there are at most 256.
SEGNET_EXPORT void segnet_cpu_labels(const float* logits, uint8_t* labels, int64_t classes,
                                     int64_t size, int64_t step);
