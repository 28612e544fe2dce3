// The op pair on the CPU with one code per byte, for ncnn and other packed layouts: rows divided
// among threads, one clone per element type, pack and instruction set. The loops over windows are
// in window_loops.h; the kernels with the contract's 2-bit codes are in two_bit_codes.cpp.
#include "segnet/cpu_byte_codes.h"

#include <algorithm>
#include <initializer_list>
#include <thread>
#include <vector>

#include "window_loops.h"

namespace segnet {
namespace {

struct Buffers {
  void* full;
  void* pooled;
  uint8_t* codes;
};

template <typename T, int kPack>
SEGNET_INLINE void pool_rows(const CpuPlanes& on, const Buffers& at, int64_t first, int64_t last) {
  const int64_t ho = on.pooled_h(), wo = on.pooled_w(), row = on.w * kPack, out = wo * kPack;
  for (int64_t r = first; r < last; ++r) {
    const int64_t plane = r / ho, i = r % ho;
    const T* top = static_cast<const T*>(at.full) + plane * on.full_step + 2 * i * row;
    pool_row(top, 2 * i + 1 < on.h ? top + row : nullptr, kPack, on.w, wo,
             static_cast<T*>(at.pooled) + plane * on.pooled_step + i * out, at.codes + r * out,
             ByteCode{});
  }
}

template <typename T, int kPack>
SEGNET_INLINE void unpool_rows(const CpuPlanes& on, const Buffers& at, int64_t first,
                               int64_t last) {
  const int64_t ho = on.pooled_h(), wo = on.pooled_w(), row = on.w * kPack, out = wo * kPack;
  for (int64_t r = first; r < last; ++r) {
    const int64_t plane = r / on.h, line = r % on.h, i = line / 2;
    const T* y = static_cast<const T*>(at.pooled) + plane * on.pooled_step + i * out;
    unpool_row(i < ho ? y : nullptr, at.codes + (plane * ho + i) * out, static_cast<int>(line % 2),
               kPack, on.w, wo, static_cast<T*>(at.full) + plane * on.full_step + line * row,
               ByteCode{});
  }
}

// One operation on rows [first, last).
using Rows = void (*)(const CpuPlanes& on, const Buffers& at, int64_t first, int64_t last);

#define SEGNET_ROWS(T, pack)                                                                    \
  SEGNET_CLONES void pool_##T##_##pack(const CpuPlanes& on, const Buffers& at, int64_t first,   \
                                       int64_t last) {                                          \
    pool_rows<T, pack>(on, at, first, last);                                                    \
  }                                                                                             \
  SEGNET_CLONES void unpool_##T##_##pack(const CpuPlanes& on, const Buffers& at, int64_t first, \
                                         int64_t last) {                                        \
    unpool_rows<T, pack>(on, at, first, last);                                                  \
  }
#define SEGNET_PACKS(T) SEGNET_ROWS(T, 1) SEGNET_ROWS(T, 4) SEGNET_ROWS(T, 8) SEGNET_ROWS(T, 16)
SEGNET_PACKS(float)
SEGNET_PACKS(int8_t)
SEGNET_PACKS(uint8_t)

#define SEGNET_TABLE(op, T) {op##_##T##_1, op##_##T##_4, op##_##T##_8, op##_##T##_16}
#define SEGNET_TABLES(op) \
  {SEGNET_TABLE(op, float), SEGNET_TABLE(op, int8_t), SEGNET_TABLE(op, uint8_t)}
const Rows kPool[3][4] = SEGNET_TABLES(pool);
const Rows kUnpool[3][4] = SEGNET_TABLES(unpool);

// Null if the element type or the pack is not supported.
Rows find(const Rows (&table)[3][4], int element, int64_t pack) {
  const int64_t packs[] = {1, 4, 8, 16};
  const auto* found = std::find(packs, packs + 4, pack);
  return element < 0 || element > 2 || found == packs + 4 ? nullptr : table[element][found - packs];
}

// Whether the planes, `step` elements apart, can be addressed. Planes that are written must not
// overlap: threads would write the same elements.
bool is_addressable(int64_t planes, int64_t h, int64_t w, int64_t pack, int64_t step,
                    bool written) {
  constexpr int64_t kMaximum = INT64_MAX / 64;  // elements; leaves room for every sum of offsets
  int64_t plane, all, span;
  if (__builtin_mul_overflow(h, w * pack, &plane) || plane > kMaximum) return false;
  if (__builtin_mul_overflow(plane, planes, &all) || all > kMaximum) return false;
  if (planes <= 1) return true;
  if (step < -kMaximum || step > kMaximum) return false;
  const int64_t distance = step < 0 ? -step : step;
  if (written && distance < plane) return false;
  return !__builtin_mul_overflow(distance, planes, &span) && span <= kMaximum;
}

// The status of the C functions (cpu_byte_codes.h) for planes that `rows` can run on.
int check(Rows rows, const CpuPlanes& on, const Buffers& at, bool unpool) {
  constexpr int64_t kMaximum = INT32_MAX;
  if (rows == nullptr) return 1;
  for (const int64_t size : {on.planes, on.h, on.w})
    if (size < 0 || size > kMaximum) return 2;
  if (!is_addressable(on.planes, on.h, on.w, on.pack, on.full_step, unpool)) return 2;
  const int64_t ho = on.pooled_h(), wo = on.pooled_w();
  if (!is_addressable(on.planes, ho, wo, on.pack, on.pooled_step, !unpool)) return 2;
  const bool has_full = on.planes * on.h * on.w > 0, has_pooled = on.planes * ho * wo > 0;
  if (has_full && at.full == nullptr) return 2;
  return has_pooled && (at.pooled == nullptr || at.codes == nullptr) ? 2 : 0;
}

constexpr int64_t kMinimumRows = 16;  // per thread; fewer cost more to start than to compute
constexpr int64_t kMaximumThreads = 1024;  // more than any processor has

int run(Rows rows, const CpuPlanes& on, const Buffers& at, int64_t count, int threads) {
  if (count == 0) return 0;
  const int64_t useful = std::min(kMaximumThreads, count / kMinimumRows);
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, useful));
  const auto start = [&](int64_t part) { return count * part / parts; };
  std::vector<std::thread> others;
  int64_t part = 1;
  try {
    others.reserve(parts - 1);
    for (; part < parts; ++part) others.emplace_back(rows, on, at, start(part), start(part + 1));
  } catch (...) {  // no thread or no memory left: this thread does the rest
  }
  rows(on, at, 0, start(1));
  rows(on, at, start(part), count);
  for (std::thread& other : others) other.join();
  return 0;
}

}  // namespace
}  // namespace segnet

SEGNET_EXPORT int segnet_cpu_pool(int element, const void* x, void* y, uint8_t* codes,
                                  int64_t planes, int64_t h, int64_t w, int64_t pack,
                                  int64_t full_step, int64_t pooled_step, int ceil_mode,
                                  int threads) {
  using namespace segnet;
  const CpuPlanes on{planes, h, w, pack, full_step, pooled_step, ceil_mode != 0};
  const Buffers at{const_cast<void*>(x), y, codes};
  const Rows rows = find(kPool, element, pack);
  if (const int status = check(rows, on, at, false)) return status;
  return run(rows, on, at, on.pooled_w() == 0 ? 0 : planes * on.pooled_h(), threads);
}

SEGNET_EXPORT int segnet_cpu_unpool(int element, const void* y, const uint8_t* codes, void* x,
                                    int64_t planes, int64_t h, int64_t w, int64_t pack,
                                    int64_t full_step, int64_t pooled_step, int ceil_mode,
                                    int threads) {
  using namespace segnet;
  const CpuPlanes on{planes, h, w, pack, full_step, pooled_step, ceil_mode != 0};
  const Buffers at{x, const_cast<void*>(y), const_cast<uint8_t*>(codes)};
  const Rows rows = find(kUnpool, element, pack);
  if (const int status = check(rows, on, at, true)) return status;
  return run(rows, on, at, w == 0 ? 0 : planes * h, threads);
}
