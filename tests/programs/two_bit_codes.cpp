// A C function for plugins/cpu/two_bit_codes.cpp, which has none: sanitize_cases.py.
#include "segnet/cpu_two_bit_codes.h"
#include "segnet/export.h"

// Pools x into y and codes, or unpools y into x, in `parts` parts. Returns 0, or 1 without memory.
SEGNET_EXPORT int segnet_two_bit_codes(int unpool, int element, int last, void* x, void* y,
                                       int32_t* codes, int64_t n, int64_t c, int64_t h, int64_t w,
                                       int ceil_mode, int64_t parts) {
  using namespace segnet;
  const CpuPair pair{{n, c, h, w, ceil_mode != 0}, CpuElement(element), last != 0};
  const int64_t rows = unpool ? pair.unpool_rows() : pair.pool_rows();
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t from = rows * part / parts, to = rows * (part + 1) / parts;
    const bool done = unpool ? unpool_part(pair, y, codes, x, from, to)
                             : pool_part(pair, x, y, codes, from, to);
    if (!done) return 1;
  }
  return 0;
}
