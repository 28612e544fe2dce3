// Runs the threads of the CUDA kernels on the host, warp by warp, and counts the 32-byte sectors
// that each warp reads and writes and how often each byte is read or written. Used by
// benchmarks/kernels/kernel_report.py; host_loop.cpp runs the same operations for tests of values.
#define SEGNET_RECORD 1
#include <algorithm>
#include <cstdlib>
#include <tuple>
#include <vector>

#include "dispatch.h"
#include "segnet/export.h"

namespace segnet {
namespace {

constexpr int kWarp = 32, kAlignment = 256;

// A device buffer: aligned like one of cudaMalloc, with an access count for each byte.
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
  bool store;
  uintptr_t sector;
  bool operator<(const Access& other) const {
    return std::tie(store, sector) < std::tie(other.store, other.sector);
  }
  bool operator==(const Access& other) const {
    return store == other.store && sector == other.sector;
  }
};

std::vector<Access> warp_accesses;
std::vector<Buffer*> buffers;
int64_t misaligned = 0;  // accesses that fault on a GPU
int64_t threads = 0;

}  // namespace

void record(const void* address, int bytes, bool store) {
  const auto start = reinterpret_cast<uintptr_t>(address);
  misaligned += start % bytes != 0;
  for (uintptr_t s = start / kSector; s <= (start + bytes - 1) / kSector; ++s)
    warp_accesses.push_back({store, s});
  for (Buffer* buffer : buffers) {
    const auto base = reinterpret_cast<uintptr_t>(buffer->memory);
    const auto end = base + buffer->counts.size();
    for (uintptr_t at = std::max(start, base); at < std::min(start + bytes, end); ++at)
      if (uint8_t& count = buffer->counts[at - base]; count < 255) ++count;
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

// Runs threads warp by warp; returns the number of sectors accessed.
struct Recorder {
  int64_t operator()(Work) const { return 0; }

  template <typename Operation>
  int64_t operator()(const Operation& operation) const {
    threads = operation.threads();
    int64_t sectors = 0;
    for (int64_t thread = 0; thread < threads; ++thread) {
      operation(static_cast<uint32_t>(thread));
      if (thread % kWarp == kWarp - 1) sectors += sectors_of_warp();
    }
    return sectors + sectors_of_warp();
  }
};

}  // namespace
}  // namespace segnet

// `kind` is a DataKind, `layout` a Layout (window_code.h), `processors` a field of Planes. Writes
// 10 numbers to `result`: bytes moved in sectors; bytes needed; the minimum and maximum number of
// accesses to a byte of the full plane, of the pooled plane and of the codes; misaligned accesses;
// threads. Returns 0, or 1 if the launchers reject the call.
SEGNET_EXPORT int segnet_record(int unpool, int kind, int layout, int64_t n, int64_t c, int64_t h,
                                int64_t w, int ceil_mode, int processors, int64_t* result) {
  using namespace segnet;
  const Planes on{{n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout), processors};
  if (on.work() == Work::kInvalid) return 1;
  const int64_t sizes[] = {4, 2, 2, 1};
  const int64_t pixel = on.pitch() * sizes[kind], pooled = on.s.pooled_h() * on.s.pooled_w();
  Buffer full(n * pixel * h * w), small(n * pixel * pooled);
  Buffer codes(n * on.s.words() * pooled * sizeof(int32_t));
  buffers = {&full, &small, &codes};
  for (Buffer* buffer : buffers) std::fill_n(buffer->as<uint8_t>(), buffer->counts.size(), 0);
  misaligned = threads = 0;
  auto* words = codes.as<int32_t>();
  const int64_t sectors =
      unpool ? segnet::unpool(on, small.as<void>(), words, full.as<void>(), Recorder{})
             : pool(on, full.as<void>(), small.as<void>(), words, Recorder{});
  result[0] = sectors * kSector;
  result[1] = static_cast<int64_t>(full.counts.size() + small.counts.size() + codes.counts.size());
  for (int i = 0; i < 3; ++i) {
    const auto& counts = buffers[i]->counts;
    const auto range = std::minmax_element(counts.begin(), counts.end());
    result[2 + 2 * i] = counts.empty() ? 0 : *range.first;
    result[3 + 2 * i] = counts.empty() ? 0 : *range.second;
  }
  result[8] = misaligned;
  result[9] = threads;
  buffers.clear();
  return 0;
}
