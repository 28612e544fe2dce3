// The op pair on the CPU with one code per byte, for ncnn and other packed layouts: rows divided
// among threads, one clone per element type, pack and instruction set. The loops over windows are
// in window_loops.h; the kernels with the contract's 2-bit codes are in two_bit_codes.cpp.
#include "segnet/cpu_byte_codes.h"

#include <algorithm>
#include <exception>
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

constexpr int64_t kMinimumRows = 16;  // per thread; fewer cost more to start than to compute

int run(Rows rows, const CpuPlanes& on, const Buffers& at, int64_t count, int threads) {
  if (rows == nullptr) return 1;
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, count / kMinimumRows));
  const auto start = [&](int64_t part) { return count * part / parts; };
  std::vector<std::thread> others;
  int64_t part = 1;
  try {
    others.reserve(parts - 1);
    for (; part < parts; ++part) others.emplace_back(rows, on, at, start(part), start(part + 1));
  } catch (const std::exception&) {  // no thread or no memory left: this thread does the rest
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
  return run(find(kPool, element, pack), on, at, planes * on.pooled_h(), threads);
}

SEGNET_EXPORT int segnet_cpu_unpool(int element, const void* y, const uint8_t* codes, void* x,
                                    int64_t planes, int64_t h, int64_t w, int64_t pack,
                                    int64_t full_step, int64_t pooled_step, int ceil_mode,
                                    int threads) {
  using namespace segnet;
  const CpuPlanes on{planes, h, w, pack, full_step, pooled_step, ceil_mode != 0};
  const Buffers at{x, const_cast<void*>(y), const_cast<uint8_t*>(codes)};
  return run(find(kUnpool, element, pack), on, at, planes * h, threads);
}
