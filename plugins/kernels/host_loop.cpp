// The kernels' threads run one after the other on the host, for tests: the same window*.h.
#include "window_last.h"

#if defined(_WIN32)
#define SEGNET_EXPORT extern "C" __declspec(dllexport)
#else
#define SEGNET_EXPORT extern "C" __attribute__((visibility("default")))
#endif

using namespace segnet;

namespace {

template <typename T>
void pair(const PoolShape& s, const void* x, void* y, int32_t* codes, void* back) {
  with_windows<T>(s, true, [&](auto windows) {
    constexpr int kWindows = decltype(windows)::value;
    const int64_t pooled = columns_of<kWindows>(s, s.pooled_w());
    const int64_t columns = columns_of<kWindows>(s, (s.w + 1) / 2), rows = (s.h + 1) / 2;
    auto* small = static_cast<T*>(y);
    for (int64_t t = 0; t < s.n * s.words() * s.pooled_h() * pooled; ++t)
      pool_windows<T, kWindows>(s, cell_of(t, s.words(), s.pooled_h(), pooled),
                                static_cast<const T*>(x), small, codes);
    for (int64_t t = 0; t < s.n * s.words() * rows * columns; ++t)
      unpool_windows<T, kWindows>(s, cell_of(t, s.words(), rows, columns), small, codes,
                                  static_cast<T*>(back));
  });
}

template <typename T, int kCount>
void pair_last(const PoolShape& s, int64_t pitch, const void* x, void* y, int32_t* codes,
               void* back) {
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  for (int64_t cell = 0; cell < cells_last<T>(s, ho, wo); ++cell) {
    const Cell at = cell_of_last<T>(cell, s, ho, wo);
    if (at.word >= s.words()) continue;
    uint32_t bits = 0;
    for (int part = 0; part < kChannelsPerWord / kCount; ++part)
      bits |= pool_part<T, kCount>(s, pitch, at, part, static_cast<const T*>(x),
                                   static_cast<T*>(y));
    codes[((at.image * s.words() + at.word) * ho + at.row) * wo + at.column] =
        static_cast<int32_t>(bits);
  }
  const int64_t rows = (s.h + 1) / 2, columns = (s.w + 1) / 2;
  for (int64_t cell = 0; cell < cells_last<T>(s, rows, columns); ++cell)
    for (int part = 0; part < kChannelsPerWord / kCount; ++part)
      unpool_part<T, kCount>(s, pitch, cell_of_last<T>(cell, s, rows, columns), part,
                             static_cast<const T*>(y), codes, static_cast<T*>(back));
}

template <typename T>
void last(const PoolShape& s, int64_t pitch, const void* x, void* y, int32_t* codes, void* back) {
  constexpr int kWide = 16 / sizeof(T);
  if (pitch % kWide == 0)
    pair_last<T, kWide>(s, pitch, x, y, codes, back);
  else
    pair_last<T, 1>(s, pitch, x, y, codes, back);
}

}  // namespace

// kind: 0 fp32, 1 fp16, 2 bf16, 3 int8. Pools x into y and codes, and unpools y into back.
SEGNET_EXPORT void segnet_host_pair(int kind, const void* x, void* y, int32_t* codes, void* back,
                                    int64_t n, int64_t c, int64_t h, int64_t w, int ceil_mode) {
  const PoolShape s{n, c, h, w, ceil_mode != 0};
  if (kind == 0) pair<float>(s, x, y, codes, back);
  if (kind == 1) pair<Half>(s, x, y, codes, back);
  if (kind == 2) pair<BFloat16>(s, x, y, codes, back);
  if (kind == 3) pair<int8_t>(s, x, y, codes, back);
}

// The same, channels last: x is (n, h, w, pitch).
SEGNET_EXPORT void segnet_host_pair_last(int kind, int64_t pitch, const void* x, void* y,
                                         int32_t* codes, void* back, int64_t n, int64_t c,
                                         int64_t h, int64_t w, int ceil_mode) {
  const PoolShape s{n, c, h, w, ceil_mode != 0};
  if (kind == 0) last<float>(s, pitch, x, y, codes, back);
  if (kind == 1) last<Half>(s, pitch, x, y, codes, back);
  if (kind == 2) last<BFloat16>(s, pitch, x, y, codes, back);
  if (kind == 3) last<int8_t>(s, pitch, x, y, codes, back);
}
