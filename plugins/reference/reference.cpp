// The CPU reference of SegNetMaxPool and SegNetMaxUnpool: NCHW fp32 in plain loops. It shares no
// code with plugins/cpu and plugins/cuda, which would share its bugs; only the contract,
// include/segnet/window_code.h.
#include <cstring>
#include <initializer_list>

#include "segnet/export.h"
#include "segnet/window_code.h"

using segnet::kChannelsPerWord;
using segnet::PoolShape;

namespace {

constexpr int64_t kMaximum = int64_t{1} << 56;  // elements; eight bytes of each can be addressed

// Whether the elements, windows included, can be counted and lie at these addresses.
bool is_valid(const PoolShape& s, const void* full, const void* pooled, const void* codes) {
  int64_t elements = 1;
  for (const int64_t size : {s.n, s.c, s.h, s.w}) {
    if (size < 0 || size > INT32_MAX) return false;
    if (__builtin_mul_overflow(elements, size + 1, &elements) || elements > kMaximum) return false;
  }
  if (s.n * s.c * s.h * s.w == 0) return true;
  if (full == nullptr) return false;
  return s.pooled_h() * s.pooled_w() == 0 || (pooled != nullptr && codes != nullptr);
}

}  // namespace

// x (n, c, h, w) -> y (n, c, ho, wo) and codes (n, ceil(c/16), ho, wo). The first maximum wins.
// Returns 0, or 1 if a size or an address cannot be valid.
SEGNET_EXPORT int segnet_reference_pool(const float* x, float* y, int32_t* codes, int64_t n,
                                        int64_t c, int64_t h, int64_t w, int ceil_mode) {
  const PoolShape s{n, c, h, w, ceil_mode != 0};
  if (!is_valid(s, x, y, codes)) return 1;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  if (n * c * ho * wo == 0) return 0;
  std::memset(codes, 0, sizeof(int32_t) * n * s.words() * ho * wo);
  for (int64_t b = 0; b < n; ++b)
    for (int64_t k = 0; k < c; ++k)
      for (int64_t i = 0; i < ho; ++i)
        for (int64_t j = 0; j < wo; ++j) {
          const float* plane = x + (b * c + k) * h * w;
          float best = plane[2 * i * w + 2 * j];
          uint32_t code = 0;
          for (uint32_t e = 1; e < 4; ++e) {
            const int64_t row = 2 * i + e / 2, column = 2 * j + e % 2;
            if (row >= h || column >= w) continue;
            const float value = plane[row * w + column];  // the last NaN wins, as in PyTorch
            if (value > best || value != value) best = value, code = e;
          }
          y[((b * c + k) * ho + i) * wo + j] = best;
          const int64_t word = ((b * s.words() + k / kChannelsPerWord) * ho + i) * wo + j;
          uint32_t bits = static_cast<uint32_t>(codes[word]);
          bits |= code << (2 * (k % kChannelsPerWord));
          codes[word] = static_cast<int32_t>(bits);
        }
  return 0;
}

// y (n, c, ho, wo) and codes -> x (n, c, h, w): a pooled value, or 0. Returns as above.
SEGNET_EXPORT int segnet_reference_unpool(const float* y, const int32_t* codes, float* x,
                                          int64_t n, int64_t c, int64_t h, int64_t w,
                                          int ceil_mode) {
  const PoolShape s{n, c, h, w, ceil_mode != 0};
  if (!is_valid(s, x, y, codes)) return 1;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  if (n * c * h * w == 0) return 0;
  std::memset(x, 0, sizeof(float) * n * c * h * w);
  for (int64_t b = 0; b < n; ++b)
    for (int64_t k = 0; k < c; ++k)
      for (int64_t i = 0; i < ho; ++i)
        for (int64_t j = 0; j < wo; ++j) {
          const int64_t word = ((b * s.words() + k / kChannelsPerWord) * ho + i) * wo + j;
          const uint32_t bits = static_cast<uint32_t>(codes[word]);
          const uint32_t code = (bits >> (2 * (k % kChannelsPerWord))) & 3u;
          const int64_t row = 2 * i + code / 2, column = 2 * j + code % 2;
          if (row >= h || column >= w) continue;  // no pool returns such a code
          x[((b * c + k) * h + row) * w + column] = y[((b * c + k) * ho + i) * wo + j];
        }
  return 0;
}
