// The kernels' threads run one after the other on the host, for tests: the same window.h.
#include "window.h"

#if defined(_WIN32)
#define SEGNET_EXPORT extern "C" __declspec(dllexport)
#else
#define SEGNET_EXPORT extern "C" __attribute__((visibility("default")))
#endif

using namespace segnet;

namespace {

template <typename T, bool kPairs>
void pool(const PoolShape& s, const void* x, void* y, int32_t* codes) {
  const int64_t cells = s.n * s.words() * s.pooled_h() * s.pooled_w();
  for (int64_t t = 0; t < cells; ++t)
    pool_cell<T, kPairs>(s, cell_of(t, s.words(), s.pooled_h(), s.pooled_w()),
                         static_cast<const T*>(x), static_cast<T*>(y), codes);
}

template <typename T, bool kPairs>
void unpool(const PoolShape& s, const void* y, const int32_t* codes, void* x) {
  const int64_t rows = (s.h + 1) / 2, columns = (s.w + 1) / 2;
  const int64_t cells = s.n * s.words() * rows * columns;
  for (int64_t t = 0; t < cells; ++t)
    unpool_cell<T, kPairs>(s, cell_of(t, s.words(), rows, columns), static_cast<const T*>(y), codes,
                           static_cast<T*>(x));
}

template <typename T>
void pair(const PoolShape& s, const void* x, void* y, int32_t* codes, void* back) {
  if (s.w % 2 == 0) {
    pool<T, true>(s, x, y, codes);
    unpool<T, true>(s, y, codes, back);
  } else {
    pool<T, false>(s, x, y, codes);
    unpool<T, false>(s, y, codes, back);
  }
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
