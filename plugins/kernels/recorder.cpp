// Runs the kernels' threads on the host, warp by warp, and counts what their accesses move:
// 32-byte sectors per instruction, and how often each byte is read and written. For reports.
#define SEGNET_RECORD 1
#include <algorithm>
#include <cstdlib>
#include <tuple>
#include <vector>

#include "window_last.h"

#if defined(_WIN32)
#define SEGNET_EXPORT extern "C" __declspec(dllexport)
#else
#define SEGNET_EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace segnet {
namespace {

constexpr int kWarp = 32, kSector = 32, kAlignment = 256;

// A device buffer: aligned as cudaMalloc's, with a count for each byte.
struct Buffer {
  explicit Buffer(size_t bytes)
      : counts(bytes), memory(std::aligned_alloc(kAlignment, (bytes + 255) / 256 * 256)) {}
  ~Buffer() { std::free(memory); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  template <typename T>
  T* as() const {
    return static_cast<T*>(memory);
  }

  std::vector<uint8_t> counts;
  void* memory;
};

struct Access {
  int step;
  bool store;
  uintptr_t sector;
  bool operator<(const Access& other) const {
    return std::tie(step, store, sector) < std::tie(other.step, other.store, other.sector);
  }
  bool operator==(const Access& other) const {
    return step == other.step && store == other.store && sector == other.sector;
  }
};

std::vector<Access> warp_accesses;
std::vector<Buffer*> buffers;

}  // namespace

void record(const void* address, int bytes, int step, bool store) {
  const auto start = reinterpret_cast<uintptr_t>(address);
  for (uintptr_t s = start / kSector; s <= (start + bytes - 1) / kSector; ++s)
    warp_accesses.push_back({step, store, s});
  for (Buffer* buffer : buffers) {
    const auto base = reinterpret_cast<uintptr_t>(buffer->memory);
    if (start < base || start >= base + buffer->counts.size()) continue;
    for (int i = 0; i < bytes; ++i)
      if (uint8_t& count = buffer->counts[start - base + i]; count < 255) ++count;
  }
}

namespace {

int64_t sectors_of_warp() {
  std::sort(warp_accesses.begin(), warp_accesses.end());
  const auto end = std::unique(warp_accesses.begin(), warp_accesses.end());
  const int64_t count = end - warp_accesses.begin();
  warp_accesses.clear();
  return count;
}

template <typename Thread>
int64_t run(int64_t threads, Thread thread) {
  int64_t sectors = 0;
  for (int64_t t = 0; t < threads; ++t) {
    thread(t);
    if (t % kWarp == kWarp - 1 || t == threads - 1) sectors += sectors_of_warp();
  }
  return sectors;
}

template <typename T>
int64_t linear(const PoolShape& s, bool unpool, T* full, T* small, int32_t* codes) {
  return with_windows<T>(s, true, [&](auto windows) {
    constexpr int kWindows = decltype(windows)::value;
    const int64_t rows = unpool ? (s.h + 1) / 2 : s.pooled_h();
    const int64_t columns = columns_of<kWindows>(s, unpool ? (s.w + 1) / 2 : s.pooled_w());
    return run(s.n * s.words() * rows * columns, [&](int64_t t) {
      const Cell at = cell_of(t, s.words(), rows, columns);
      if (unpool)
        unpool_windows<T, kWindows>(s, at, small, codes, full);
      else
        pool_windows<T, kWindows>(s, at, full, small, codes);
    });
  });
}

template <typename T, int kCount>
int64_t last(const PoolShape& s, int64_t pitch, bool unpool, T* full, T* small, int32_t* codes) {
  constexpr int kParts = kChannelsPerWord / kCount;
  const int64_t rows = unpool ? (s.h + 1) / 2 : s.pooled_h();
  const int64_t columns = unpool ? (s.w + 1) / 2 : s.pooled_w();
  return run(cells_last<T>(s, rows, columns) * kParts, [&](int64_t t) {
    const Cell at = cell_of_last<T>(t / kParts, s, rows, columns);
    const int part = static_cast<int>(t % kParts);
    if (unpool) {
      unpool_part<T, kCount>(s, pitch, at, part, small, codes, full);
      return;
    }
    pool_part<T, kCount>(s, pitch, at, part, full, small);
    if (part == 0 && at.word < s.words())  // as the kernel does, after it joined the parts
      store(codes + ((at.image * s.words() + at.word) * rows + at.row) * columns + at.column,
            int32_t{0}, -1);
  });
}

template <typename T>
int64_t count(const PoolShape& s, int layout, bool unpool, T* full, T* small, int32_t* codes) {
  constexpr int kWide = 16 / sizeof(T);
  if (layout == 0) return linear<T>(s, unpool, full, small, codes);
  const int64_t pitch = layout == 2 ? (s.c + 7) / 8 * 8 : s.c;
  return pitch % kWide == 0 ? last<T, kWide>(s, pitch, unpool, full, small, codes)
                            : last<T, 1>(s, pitch, unpool, full, small, codes);
}

}  // namespace
}  // namespace segnet

// kind: 0 fp32, 1 fp16, 2 bf16, 3 int8. layout: 0 NCHW, 1 NHWC, 2 NHWC padded to 8.
// result: bytes moved in sectors, bytes needed, then the least and the largest number of
// accesses to a byte of: the full plane, the pooled plane, the codes.
SEGNET_EXPORT void segnet_record(int unpool, int kind, int layout, int64_t n, int64_t c, int64_t h,
                                 int64_t w, int ceil_mode, int64_t* result) {
  using namespace segnet;
  const PoolShape s{n, c, h, w, ceil_mode != 0};
  const int64_t pitch = layout == 2 ? (c + 7) / 8 * 8 : c;
  const int64_t sizes[] = {4, 2, 2, 1};
  const int64_t pooled = s.pooled_h() * s.pooled_w();
  Buffer full(n * pitch * h * w * sizes[kind]), small(n * pitch * pooled * sizes[kind]);
  Buffer codes(n * s.words() * pooled * sizeof(int32_t));
  buffers = {&full, &small, &codes};
  for (Buffer* buffer : buffers) std::fill_n(buffer->as<uint8_t>(), buffer->counts.size(), 0);
  const auto go = [&](auto zero) {
    using T = decltype(zero);
    return count<T>(s, layout, unpool != 0, full.as<T>(), small.as<T>(), codes.as<int32_t>());
  };
  const int64_t sectors = kind == 0   ? go(float{})
                          : kind == 1 ? go(Half{})
                          : kind == 2 ? go(BFloat16{})
                                      : go(int8_t{});
  result[0] = sectors * kSector;
  result[1] = static_cast<int64_t>(full.counts.size() + small.counts.size() + codes.counts.size());
  for (int i = 0; i < 3; ++i) {
    const auto& counts = buffers[i]->counts;
    const auto range = std::minmax_element(counts.begin(), counts.end());
    result[2 + 2 * i] = counts.empty() ? 0 : *range.first;
    result[3 + 2 * i] = counts.empty() ? 0 : *range.second;
  }
  buffers.clear();
}
