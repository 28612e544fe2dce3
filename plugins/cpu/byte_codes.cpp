// The op pair on the CPU: rows shared out to threads, one copy of the loops per kind, pack and
// instruction set. The loops are in window_loops.h.
#include <algorithm>
#include <exception>
#include <thread>
#include <vector>

#include "window_loops.h"
#include "segnet/cpu_byte_codes.h"

// The dynamic loader takes the best of the copies for the processor it finds.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define SEGNET_CLONES __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define SEGNET_CLONES
#endif

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
    pool_row<T, kPack>(top, 2 * i + 1 < on.h ? top + row : nullptr, on.w, wo,
                       static_cast<T*>(at.pooled) + plane * on.pooled_step + i * out,
                       at.codes + r * out);
  }
}

template <typename T, int kPack>
SEGNET_INLINE void unpool_rows(const CpuPlanes& on, const Buffers& at, int64_t first,
                               int64_t last) {
  const int64_t ho = on.pooled_h(), wo = on.pooled_w(), row = on.w * kPack, out = wo * kPack;
  for (int64_t r = first; r < last; ++r) {
    const int64_t plane = r / on.h, line = r % on.h, i = line / 2;
    const T* y = static_cast<const T*>(at.pooled) + plane * on.pooled_step + i * out;
    unpool_row<T, kPack>(i < ho ? y : nullptr, at.codes + (plane * ho + i) * out,
                         static_cast<int>(line % 2), on.w, wo,
                         static_cast<T*>(at.full) + plane * on.full_step + line * row);
  }
}

using Rows = void (*)(const CpuPlanes&, const Buffers&, int64_t, int64_t);

#define SEGNET_ROWS(T, pack)                                                                    \
  SEGNET_CLONES void pool_##T##_##pack(const CpuPlanes& on, const Buffers& at, int64_t first,   \
                                       int64_t last) {                                          \
    pool_rows<T, pack>(on, at, first, last);                                                    \
  }                                                                                             \
  SEGNET_CLONES void unpool_##T##_##pack(const CpuPlanes& on, const Buffers& at, int64_t first, \
                                         int64_t last) {                                        \
    unpool_rows<T, pack>(on, at, first, last);                                                  \
  }
#define SEGNET_KIND(T) SEGNET_ROWS(T, 1) SEGNET_ROWS(T, 4) SEGNET_ROWS(T, 8) SEGNET_ROWS(T, 16)
SEGNET_KIND(float)
SEGNET_KIND(int8_t)
SEGNET_KIND(uint8_t)

#define SEGNET_TABLE(op, T) {op##_##T##_1, op##_##T##_4, op##_##T##_8, op##_##T##_16}
#define SEGNET_TABLES(op) \
  {SEGNET_TABLE(op, float), SEGNET_TABLE(op, int8_t), SEGNET_TABLE(op, uint8_t)}
const Rows kPool[3][4] = SEGNET_TABLES(pool);
const Rows kUnpool[3][4] = SEGNET_TABLES(unpool);

// Null where there is no such kind or pack.
Rows choose(const Rows (&table)[3][4], int kind, int64_t pack) {
  const int64_t packs[] = {1, 4, 8, 16};
  const auto* found = std::find(packs, packs + 4, pack);
  return kind < 0 || kind > 2 || found == packs + 4 ? nullptr : table[kind][found - packs];
}

constexpr int64_t kLeastRows = 16;  // that are worth a thread

int run(Rows rows, const CpuPlanes& on, const Buffers& at, int64_t count, int threads) {
  if (rows == nullptr) return 1;
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(threads, count / kLeastRows));
  const auto start = [&](int64_t part) { return count * part / parts; };
  std::vector<std::thread> others;
  int64_t taken = 1;
  try {
    others.reserve(parts - 1);
    for (; taken < parts; ++taken)
      others.emplace_back(rows, on, at, start(taken), start(taken + 1));
  } catch (const std::exception&) {  // no more threads, or no memory: this one does the rest
  }
  rows(on, at, 0, start(1));
  rows(on, at, start(taken), count);
  for (std::thread& other : others) other.join();
  return 0;
}

}  // namespace
}  // namespace segnet

SEGNET_EXPORT int segnet_cpu_pool(int kind, const void* x, void* y, uint8_t* codes, int64_t planes,
                                  int64_t h, int64_t w, int64_t pack, int64_t full_step,
                                  int64_t pooled_step, int ceil_mode, int threads) {
  using namespace segnet;
  const CpuPlanes on{planes, h, w, pack, full_step, pooled_step, ceil_mode != 0};
  const Buffers at{const_cast<void*>(x), y, codes};
  return run(choose(kPool, kind, pack), on, at, planes * on.pooled_h(), threads);
}

SEGNET_EXPORT int segnet_cpu_unpool(int kind, const void* y, const uint8_t* codes, void* x,
                                    int64_t planes, int64_t h, int64_t w, int64_t pack,
                                    int64_t full_step, int64_t pooled_step, int ceil_mode,
                                    int threads) {
  using namespace segnet;
  const CpuPlanes on{planes, h, w, pack, full_step, pooled_step, ceil_mode != 0};
  const Buffers at{x, const_cast<void*>(y), const_cast<uint8_t*>(codes)};
  return run(choose(kUnpool, kind, pack), on, at, planes * h, threads);
}

SEGNET_CLONES void first_maximum(const float* logits, uint8_t* labels, int64_t classes,
                                 int64_t size, int64_t step) {
  constexpr int64_t kBlock = 1024;
  for (int64_t start = 0; start < size; start += kBlock) {
    const int64_t count = std::min(kBlock, size - start);
    float best[kBlock];
    std::copy(logits + start, logits + start + count, best);
    std::fill(labels + start, labels + start + count, uint8_t{0});
    for (int64_t k = 1; k < classes; ++k) {
      const float* plane = logits + k * step + start;
      for (int64_t i = 0; i < count; ++i) {
        const bool wins = plane[i] > best[i];
        best[i] = wins ? plane[i] : best[i];
        labels[start + i] = wins ? static_cast<uint8_t>(k) : labels[start + i];
      }
    }
  }
}

SEGNET_EXPORT void segnet_cpu_labels(const float* logits, uint8_t* labels, int64_t classes,
                                     int64_t size, int64_t step) {
  first_maximum(logits, labels, classes, size, step);
}
