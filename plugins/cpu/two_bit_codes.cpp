// The op pair on the CPU with 2-bit codes: one copy of the loops in two_bit_codes.h per element and
// instruction set.
#include "two_bit_codes.h"

#include <algorithm>
#include <vector>

// The dynamic loader takes the best of the copies for the processor that it finds. On ARM NEON
// is always there.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define SEGNET_COPIES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define SEGNET_COPIES
#endif

namespace segnet {
namespace {

// Where row `number` of windows lies: its image, its group of channels, and its row.
struct Row {
  int64_t image, word, i;
};

SEGNET_FLAT Row row_at(const CpuPair& pair, int64_t number, int64_t rows) {
  const int64_t plane = number / rows, groups = pair.groups();
  return {plane / groups, plane % groups, number % rows};
}

template <typename T>
SEGNET_FLAT void pool_planes(const CpuPair& pair, const void* x, void* y, int32_t* codes,
                             int64_t first, int64_t last) {
  const PoolShape& s = pair.s;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  for (int64_t number = first; number < last; ++number) {
    const Row at = row_at(pair, number, ho);
    auto* words = reinterpret_cast<uint32_t*>(codes + number * wo);
    std::fill(words, words + wo, 0u);
    const int64_t start = at.word * kChannelsPerWord;
    const int64_t end = std::min<int64_t>(start + kChannelsPerWord, s.c);
    for (int64_t k = start; k < end; ++k) {
      const int64_t plane = at.image * s.c + k;
      const T* top = static_cast<const T*>(x) + (plane * s.h + 2 * at.i) * s.w;
      T* out = static_cast<T*>(y) + (plane * ho + at.i) * wo;
      pool_channel<T>(top, 2 * at.i + 1 < s.h ? top + s.w : nullptr, s.w, wo,
                      static_cast<int>(2 * (k - start)), out, words);
    }
  }
}

template <typename T>
SEGNET_FLAT void unpool_planes(const CpuPair& pair, const void* y, const int32_t* codes, void* x,
                               int64_t first, int64_t last) {
  const PoolShape& s = pair.s;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  for (int64_t number = first; number < last; ++number) {
    const Row at = row_at(pair, number, s.cell_rows());
    const bool kept = at.i < ho;
    const int64_t group = at.image * pair.groups() + at.word;
    const auto* words = reinterpret_cast<const uint32_t*>(codes) + (group * ho + at.i) * wo;
    const int64_t start = at.word * kChannelsPerWord;
    const int64_t end = std::min<int64_t>(start + kChannelsPerWord, s.c);
    for (int64_t k = start; k < end; ++k) {
      const int64_t plane = at.image * s.c + k;
      const T* from = static_cast<const T*>(y) + (plane * ho + at.i) * wo;
      T* to = static_cast<T*>(x) + (plane * s.h + 2 * at.i) * s.w;
      const int shift = static_cast<int>(2 * (k - start));
      for (uint32_t half = 0; half < 2 && 2 * at.i + half < s.h; ++half)
        unpool_channel<T>(kept ? from : nullptr, words, shift, half, s.w, wo, to + half * s.w);
    }
  }
}

template <typename T>
SEGNET_FLAT void pool_pixels(const CpuPair& pair, const void* x, void* y, int32_t* codes,
                             int64_t first, int64_t last) {
  const PoolShape& s = pair.s;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), words = s.words();
  std::vector<uint8_t> bytes(words * kChannelsPerWord);
  for (int64_t number = first; number < last; ++number) {
    const int64_t image = number / ho, i = number % ho;
    const T* top = static_cast<const T*>(x) + (image * s.h + 2 * i) * s.w * s.c;
    const bool below = 2 * i + 1 < s.h;
    for (int64_t j = 0; j < wo; ++j) {
      const bool right = 2 * j + 1 < s.w;
      const T* a = top + 2 * j * s.c;
      const T* c = a + s.w * s.c;
      T* out = static_cast<T*>(y) + (number * wo + j) * s.c;
      if (right && below)
        pool_pixel<T, true, true>(a, a + s.c, c, c + s.c, s.c, out, bytes.data());
      else if (right)
        pool_pixel<T, true, false>(a, a + s.c, a, a, s.c, out, bytes.data());
      else if (below)
        pool_pixel<T, false, true>(a, a, c, a, s.c, out, bytes.data());
      else
        pool_pixel<T, false, false>(a, a, a, a, s.c, out, bytes.data());
      int32_t* code = codes + (image * words * ho + i) * wo + j;
      for (int64_t word = 0; word < words; ++word)
        code[word * ho * wo] = pack(bytes.data() + word * kChannelsPerWord);
    }
  }
}

template <typename T>
SEGNET_FLAT void unpool_pixels(const CpuPair& pair, const void* y, const int32_t* codes, void* x,
                               int64_t first, int64_t last) {
  const PoolShape& s = pair.s;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), words = s.words();
  std::vector<uint8_t> bytes(words * kChannelsPerWord);
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
        unpack(code[word * ho * wo], bytes.data() + word * kChannelsPerWord);
      const int64_t columns = std::min<int64_t>(2, s.w - 2 * j);
      for (int64_t e = 0; e < 4; ++e)
        if (e / 2 < rows && e % 2 < columns)
          place_pixel<T>(from + j * s.c, bytes.data(), static_cast<uint8_t>(e), s.c,
                         top + (e / 2 * s.w + 2 * j + e % 2) * s.c);
    }
    for (int64_t row = 0; row < rows && 2 * wo < s.w; ++row)
      std::fill(top + (row * s.w + 2 * wo) * s.c, top + (row + 1) * s.w * s.c, T{});
  }
}

#define SEGNET_COPIES_OF(T, layout)                                                              \
  SEGNET_COPIES void pool_##layout##_##T(const CpuPair& pair, const void* x, void* y,            \
                                         int32_t* codes, int64_t first, int64_t last) {          \
    pool_##layout<T>(pair, x, y, codes, first, last);                                            \
  }                                                                                              \
  SEGNET_COPIES void unpool_##layout##_##T(const CpuPair& pair, const void* y,                   \
                                           const int32_t* codes, void* x, int64_t first,         \
                                           int64_t last) {                                       \
    unpool_##layout<T>(pair, y, codes, x, first, last);                                          \
  }
SEGNET_COPIES_OF(float, planes)
SEGNET_COPIES_OF(int8_t, planes)
SEGNET_COPIES_OF(uint8_t, planes)
SEGNET_COPIES_OF(float, pixels)
SEGNET_COPIES_OF(int8_t, pixels)
SEGNET_COPIES_OF(uint8_t, pixels)
#undef SEGNET_COPIES_OF

using Pool = void (*)(const CpuPair&, const void*, void*, int32_t*, int64_t, int64_t);
using Unpool = void (*)(const CpuPair&, const void*, const int32_t*, void*, int64_t, int64_t);
const Pool kPool[2][3] = {{pool_planes_float, pool_planes_int8_t, pool_planes_uint8_t},
                          {pool_pixels_float, pool_pixels_int8_t, pool_pixels_uint8_t}};
const Unpool kUnpool[2][3] = {{unpool_planes_float, unpool_planes_int8_t, unpool_planes_uint8_t},
                              {unpool_pixels_float, unpool_pixels_int8_t, unpool_pixels_uint8_t}};

}  // namespace

void pool_part(const CpuPair& pair, const void* x, void* y, int32_t* codes, int64_t first,
               int64_t last) noexcept {
  kPool[pair.channels_last][static_cast<int>(pair.element)](pair, x, y, codes, first, last);
}

void unpool_part(const CpuPair& pair, const void* y, const int32_t* codes, void* x, int64_t first,
                 int64_t last) noexcept {
  kUnpool[pair.channels_last][static_cast<int>(pair.element)](pair, y, codes, x, first, last);
}

}  // namespace segnet
