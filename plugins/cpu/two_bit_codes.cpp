// The op pair on the CPU with the contract's 2-bit codes, for the ONNX Runtime adapter: NCHW and
// NHWC, one clone per element type and instruction set. The loops over windows are in
// window_loops.h; the kernels with one code per byte are in byte_codes.cpp.
#include "segnet/cpu_two_bit_codes.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "window_loops.h"

namespace segnet {
namespace {

// Packs sixteen codes, one per byte, into one word, and unpacks them.
SEGNET_INLINE uint64_t squeeze(uint64_t x) {
  x = (x | x >> 6) & 0x000f000f000f000full;
  x = (x | x >> 12) & 0x000000ff000000ffull;
  return (x | x >> 24) & 0xffffu;
}
SEGNET_INLINE uint64_t spread(uint64_t x) {
  x = (x | x << 24) & 0x000000ff000000ffull;
  x = (x | x << 12) & 0x000f000f000f000full;
  return (x | x << 6) & 0x0303030303030303ull;
}
SEGNET_INLINE int32_t pack(const uint8_t* codes) {
  uint64_t halves[2];
  std::memcpy(halves, codes, sizeof halves);
  return static_cast<int32_t>(squeeze(halves[0]) | squeeze(halves[1]) << 16);
}
SEGNET_INLINE void unpack(int32_t word, uint8_t* codes) {
  const auto bits = static_cast<uint32_t>(word);
  const uint64_t halves[2] = {spread(bits & 0xffffu), spread(bits >> 16)};
  std::memcpy(codes, halves, sizeof halves);
}

// One byte per channel for the codes of a pixel, zeroed; null if there is no memory.
SEGNET_INLINE std::unique_ptr<uint8_t[]> code_bytes(int64_t words) {
  const size_t count = static_cast<size_t>(words) * kChannelsPerWord;
  return std::unique_ptr<uint8_t[]>(new (std::nothrow) uint8_t[count]());
}

// A row of windows of NCHW: its image, its group of 16 channels, and its index in the plane.
struct Row {
  int64_t image, group, i;
};

SEGNET_INLINE Row row_at(const CpuPair& pair, int64_t number, int64_t rows) {
  const int64_t plane = number / rows, groups = pair.groups();
  return {plane / groups, plane % groups, number % rows};
}

template <typename T>
SEGNET_INLINE bool pool_nchw(const CpuPair& pair, const void* x, void* y, int32_t* codes,
                             int64_t first, int64_t last) {
  const PoolShape& s = pair.s;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  for (int64_t number = first; number < last; ++number) {
    const Row at = row_at(pair, number, ho);
    auto* words = reinterpret_cast<uint32_t*>(codes + number * wo);
    std::fill(words, words + wo, 0u);
    const int64_t start = at.group * kChannelsPerWord;
    const int64_t end = std::min<int64_t>(start + kChannelsPerWord, s.c);
    for (int64_t k = start; k < end; ++k) {
      const int64_t plane = at.image * s.c + k;
      const T* top = static_cast<const T*>(x) + (plane * s.h + 2 * at.i) * s.w;
      T* out = static_cast<T*>(y) + (plane * ho + at.i) * wo;
      pool_row(top, 2 * at.i + 1 < s.h ? top + s.w : nullptr, 1, s.w, wo, out, words,
               TwoBitCode{static_cast<int>(2 * (k - start))});
    }
  }
  return true;
}

template <typename T>
SEGNET_INLINE bool unpool_nchw(const CpuPair& pair, const void* y, const int32_t* codes, void* x,
                               int64_t first, int64_t last) {
  const PoolShape& s = pair.s;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  for (int64_t number = first; number < last; ++number) {
    const Row at = row_at(pair, number, s.cell_rows());
    const bool has_pooled_row = at.i < ho;
    const int64_t group = at.image * pair.groups() + at.group;
    const auto* words = reinterpret_cast<const uint32_t*>(codes) + (group * ho + at.i) * wo;
    const int64_t start = at.group * kChannelsPerWord;
    const int64_t end = std::min<int64_t>(start + kChannelsPerWord, s.c);
    for (int64_t k = start; k < end; ++k) {
      const int64_t plane = at.image * s.c + k;
      const T* from = static_cast<const T*>(y) + (plane * ho + at.i) * wo;
      T* to = static_cast<T*>(x) + (plane * s.h + 2 * at.i) * s.w;
      const TwoBitCode format{static_cast<int>(2 * (k - start))};
      for (int half = 0; half < 2 && 2 * at.i + half < s.h; ++half)
        unpool_row(has_pooled_row ? from : nullptr, words, half, 1, s.w, wo, to + half * s.w,
                   format);
    }
  }
  return true;
}

template <typename T>
SEGNET_INLINE bool pool_nhwc(const CpuPair& pair, const void* x, void* y, int32_t* codes,
                             int64_t first, int64_t last) {
  const PoolShape& s = pair.s;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), words = s.words();
  const auto bytes = code_bytes(words);
  if (bytes == nullptr) return false;
  for (int64_t number = first; number < last; ++number) {
    const int64_t image = number / ho, i = number % ho;
    const T* row = static_cast<const T*>(x) + (image * s.h + 2 * i) * s.w * s.c;
    const bool below = 2 * i + 1 < s.h;
    for (int64_t j = 0; j < wo; ++j) {
      const bool right = 2 * j + 1 < s.w;
      const T* top = row + 2 * j * s.c;
      const T* low = top + s.w * s.c;
      T* out = static_cast<T*>(y) + (number * wo + j) * s.c;
      // Constant flags, so that each loop over channels is vectorised without branches.
      if (right && below)
        pool_window(top, low, s.c, true, true, out, bytes.get());
      else if (right)
        pool_window(top, top, s.c, true, false, out, bytes.get());
      else if (below)
        pool_window(top, low, s.c, false, true, out, bytes.get());
      else
        pool_window(top, top, s.c, false, false, out, bytes.get());
      int32_t* code = codes + (image * words * ho + i) * wo + j;
      for (int64_t word = 0; word < words; ++word)
        code[word * ho * wo] = pack(bytes.get() + word * kChannelsPerWord);
    }
  }
  return true;
}

template <typename T>
SEGNET_INLINE bool unpool_nhwc(const CpuPair& pair, const void* y, const int32_t* codes, void* x,
                               int64_t first, int64_t last) {
  const PoolShape& s = pair.s;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), words = s.words();
  const auto bytes = code_bytes(words);
  if (bytes == nullptr) return false;
  for (int64_t number = first; number < last; ++number) {
    const int64_t image = number / s.cell_rows(), i = number % s.cell_rows();
    T* top = static_cast<T*>(x) + (image * s.h + 2 * i) * s.w * s.c;
    const int64_t rows = std::min<int64_t>(2, s.h - 2 * i);
    if (i >= ho) {
      std::fill(top, top + rows * s.w * s.c, T{});
      continue;
    }
    const T* from = static_cast<const T*>(y) + (image * ho + i) * wo * s.c;
    for (int64_t j = 0; j < wo; ++j) {
      const int32_t* code = codes + (image * words * ho + i) * wo + j;
      for (int64_t word = 0; word < words; ++word)
        unpack(code[word * ho * wo], bytes.get() + word * kChannelsPerWord);
      const int64_t columns = std::min<int64_t>(2, s.w - 2 * j);
      for (int64_t e = 0; e < 4; ++e)
        if (e / 2 < rows && e % 2 < columns)
          unpool_pixel(from + j * s.c, bytes.get(), static_cast<uint8_t>(e), s.c,
                       top + (e / 2 * s.w + 2 * j + e % 2) * s.c);
    }
    for (int64_t row = 0; row < rows && 2 * wo < s.w; ++row)
      std::fill(top + (row * s.w + 2 * wo) * s.c, top + (row + 1) * s.w * s.c, T{});
  }
  return true;
}

#define SEGNET_PAIR(T, layout)                                                                   \
  SEGNET_CLONES bool pool_##layout##_##T(const CpuPair& pair, const void* x, void* y,            \
                                         int32_t* codes, int64_t first, int64_t last) {          \
    return pool_##layout<T>(pair, x, y, codes, first, last);                                     \
  }                                                                                              \
  SEGNET_CLONES bool unpool_##layout##_##T(const CpuPair& pair, const void* y,                   \
                                           const int32_t* codes, void* x, int64_t first,         \
                                           int64_t last) {                                       \
    return unpool_##layout<T>(pair, y, codes, x, first, last);                                   \
  }
SEGNET_PAIR(float, nchw)
SEGNET_PAIR(int8_t, nchw)
SEGNET_PAIR(uint8_t, nchw)
SEGNET_PAIR(float, nhwc)
SEGNET_PAIR(int8_t, nhwc)
SEGNET_PAIR(uint8_t, nhwc)
#undef SEGNET_PAIR

using Pool = bool (*)(const CpuPair&, const void*, void*, int32_t*, int64_t, int64_t);
using Unpool = bool (*)(const CpuPair&, const void*, const int32_t*, void*, int64_t, int64_t);
const Pool kPool[2][3] = {{pool_nchw_float, pool_nchw_int8_t, pool_nchw_uint8_t},
                          {pool_nhwc_float, pool_nhwc_int8_t, pool_nhwc_uint8_t}};
const Unpool kUnpool[2][3] = {{unpool_nchw_float, unpool_nchw_int8_t, unpool_nchw_uint8_t},
                              {unpool_nhwc_float, unpool_nhwc_int8_t, unpool_nhwc_uint8_t}};

}  // namespace

bool pool_part(const CpuPair& pair, const void* x, void* y, int32_t* codes, int64_t first,
               int64_t last) noexcept {
  const auto element = static_cast<int>(pair.element);
  return kPool[pair.channels_last][element](pair, x, y, codes, first, last);
}

bool unpool_part(const CpuPair& pair, const void* y, const int32_t* codes, void* x, int64_t first,
                 int64_t last) noexcept {
  const auto element = static_cast<int>(pair.element);
  return kUnpool[pair.channels_last][element](pair, y, codes, x, first, last);
}

}  // namespace segnet
