// Runs the blocks of the CUDA kernels one after the other on the host, for tests without a GPU:
// the operations of plugins/cuda/dispatch.h. recorder.cpp counts their accesses.
#include <cstring>
#include <vector>

#include "dispatch.h"
#include "segnet/export.h"

namespace segnet {
namespace {

constexpr int kPoison = 0xA5;  // fills shared memory, which a kernel must not assume is zero

struct HostLoop {
  template <typename Operation>
  void operator()(const Operation& operation) const {
    const size_t bytes = operation.shared_bytes();
    std::vector<unsigned char> memory(bytes + kSector);
    unsigned char* start = memory.data();
    start += (kSector - reinterpret_cast<uintptr_t>(start) % kSector) % kSector;
    for (uint32_t block = 0; block < operation.blocks(); ++block) {
      std::memset(start, kPoison, bytes);
      operation(block, start, [](auto work) {
        for (uint32_t thread = 0; thread < kThreads; ++thread) work(thread);
      });
    }
  }
};

}  // namespace
}  // namespace segnet

// `kind` is a DataKind, `layout` a Layout (window_code.h). Pools x into y and codes, and unpools y
// into back.
SEGNET_EXPORT void segnet_host_pair(int kind, int layout, const void* x, void* y, int32_t* codes,
                                    void* back, int64_t n, int64_t c, int64_t h, int64_t w,
                                    int ceil_mode) {
  using namespace segnet;
  const Planes on{{n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout)};
  pool(on, x, y, codes, HostLoop{});
  unpool(on, y, codes, back, HostLoop{});
}

// Unpools y into x with any codes, also those that no pool returns.
SEGNET_EXPORT void segnet_host_unpool(int kind, int layout, const void* y, const int32_t* codes,
                                      void* x, int64_t n, int64_t c, int64_t h, int64_t w,
                                      int ceil_mode) {
  using namespace segnet;
  const Planes on{{n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout)};
  unpool(on, y, codes, x, HostLoop{});
}
