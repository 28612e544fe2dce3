// The interface of libsegnet_cpu: the op pair with one code per byte, and the label map. No
// framework headers here. The kernels are in plugins/cpu/byte_codes.cpp and label_map.cpp; the
// interface of the kernels with 2-bit codes is cpu_two_bit_codes.h.
#pragma once

#include "segnet/export.h"
#include "segnet/window_code.h"

namespace segnet {

// `planes` planes of h x w pixels; a pixel is `pack` adjacent elements. Pack 1 is NCHW, with
// planes = n * c; packs 4, 8 and 16 hold that many channels, with planes = n * ceil(c / pack).
// Consecutive full planes start `full_step` elements apart, pooled planes `pooled_step`.
struct CpuPlanes {
  int64_t planes, h, w, pack, full_step, pooled_step;
  bool ceil_mode;

  int64_t pooled_h() const { return ceil_mode ? (h + 1) / 2 : h / 2; }
  int64_t pooled_w() const { return ceil_mode ? (w + 1) / 2 : w / 2; }
};

}  // namespace segnet

// x -> y and codes. A code is one byte per element of y, in y's layout without gaps between
// planes: the position 0 1 / 2 3 of the first maximum; the last NaN wins, as in PyTorch.
// `element` is a CpuElement. Uses at most `threads` threads, and one if that is less. Empty planes
// are legal: nothing is computed. Returns 0; 1 if the element type or the pack is not supported; 2
// if an address is null, a size negative or too large, or written planes overlap.
SEGNET_EXPORT int segnet_cpu_pool(int element, const void* x, void* y, uint8_t* codes,
                                  int64_t planes, int64_t h, int64_t w, int64_t pack,
                                  int64_t full_step, int64_t pooled_step, int ceil_mode,
                                  int threads);

// y and codes -> x. Every element of x is written: a pooled value, or 0. A code beyond 3, or of a
// position outside the plane, writes nothing. Returns as above.
SEGNET_EXPORT int segnet_cpu_unpool(int element, const void* y, const uint8_t* codes, void* x,
                                    int64_t planes, int64_t h, int64_t w, int64_t pack,
                                    int64_t full_step, int64_t pooled_step, int ceil_mode,
                                    int threads);

// logits (classes, size) -> labels (size): the first maximum. The planes of two classes start
// `step` elements apart. Returns 0, or 1 if an address is null, there are less than 1 or more than
// 256 classes, or a size is negative or too large.
SEGNET_EXPORT int segnet_cpu_labels(const float* logits, uint8_t* labels, int64_t classes,
                                    int64_t size, int64_t step);
