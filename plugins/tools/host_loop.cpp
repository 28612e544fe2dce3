// Runs the threads of the CUDA kernels one after the other on the host, for tests without a GPU:
// the operations of plugins/cuda/dispatch.h. recorder.cpp counts their accesses.
#include "dispatch.h"
#include "segnet/export.h"

namespace segnet {
namespace {

// Returns 0, or 1 for sizes that the launchers reject.
struct HostLoop {
  int operator()(Work work) const { return work == Work::kNone ? 0 : 1; }

  template <typename Operation>
  int operator()(const Operation& operation) const {
    for (int64_t thread = 0; thread < operation.threads(); ++thread)
      operation(static_cast<uint32_t>(thread));
    return 0;
  }
};

// Returns the number of threads that a launcher starts, or -1.
struct CountThreads {
  int64_t operator()(Work work) const { return work == Work::kNone ? 0 : -1; }

  template <typename Operation>
  int64_t operator()(const Operation& operation) const {
    return operation.threads();
  }
};

}  // namespace
}  // namespace segnet

// `kind` is a DataKind, `layout` a Layout (window_code.h), `processors` a field of Planes. Pools x
// into y and codes, and unpools y into back. Returns 0, or 1 if the launchers reject the call.
SEGNET_EXPORT int segnet_host_pair(int kind, int layout, const void* x, void* y, int32_t* codes,
                                   void* back, int64_t n, int64_t c, int64_t h, int64_t w,
                                   int ceil_mode, int processors) {
  using namespace segnet;
  const Planes on{{n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout), processors};
  const int failed = pool(on, x, y, codes, HostLoop{});
  return failed ? failed : unpool(on, y, codes, back, HostLoop{});
}

// Returns the number of threads that are launched for tensors at the address `at`, or -1 if the
// launchers reject the call. Nothing is read or written.
SEGNET_EXPORT int64_t segnet_host_threads(int unpool, int kind, int layout, void* at, int64_t n,
                                         int64_t c, int64_t h, int64_t w, int ceil_mode,
                                         int processors) {
  using namespace segnet;
  const Planes on{{n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout), processors};
  auto* codes = static_cast<int32_t*>(at);
  return unpool ? segnet::unpool(on, at, codes, at, CountThreads{})
                : pool(on, at, at, codes, CountThreads{});
}

// Unpools y into x with any codes, also those that no pool returns.
SEGNET_EXPORT void segnet_host_unpool(int kind, int layout, const void* y, const int32_t* codes,
                                      void* x, int64_t n, int64_t c, int64_t h, int64_t w,
                                      int ceil_mode, int processors) {
  using namespace segnet;
  const Planes on{{n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout), processors};
  unpool(on, y, codes, x, HostLoop{});
}
