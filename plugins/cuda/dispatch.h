// Selects the operation for a shape, layout and element type, and calls run(operation): runs of
// NCHW (nchw_runs.h) or pixels of channels last (nhwc_pixels.h), with the widest accesses that
// sizes and addresses allow.
//
// An operation is a struct with threads() and a call operator that does the work of one thread.
// kResident blocks fit a multiprocessor, which limits their registers; with 0 the compiler chooses.
// The launcher (kernels.cu), tools/host_loop.cpp and tools/recorder.cpp run the same operations.
#pragma once

#include <initializer_list>

#include "nchw_runs.h"
#include "nhwc_pixels.h"

namespace segnet {

constexpr uint32_t kThreads = 128, kFewestThreads = 64;  // of a block

// What a call has to do: report an error, nothing (a tensor is empty), or an operation. pool() and
// unpool() call run(Work) for the first two.
enum class Work { kInvalid, kNone, kSome };

// The kernels number threads in 32 bits. There are at most four for each position of the full
// plane, counted in code words.
constexpr int64_t kPositions = int64_t{1} << 29;

// The planes of a call: their sizes, element type and layout.
struct Planes {
  PoolShape s;
  DataKind kind;
  Layout layout;
  int processors = 0;  // of the device; 0 gives the largest blocks

  // With fewer threads, each one gets less work. Four blocks a processor, so that some compute
  // while others wait for memory.
  int64_t wanted_threads() const { return int64_t{4} * processors * kThreads; }
  // Comes before all other arithmetic, which overflows or divides by zero for other sizes.
  Work work() const {
    const bool known = kind >= DataKind::kFloat32 && kind <= DataKind::kInt8 &&
                       layout >= Layout::kLinear && layout <= Layout::kChannelsLast8;
    if (!known || s.n < 0 || s.c < 0 || s.h < 0 || s.w < 0) return Work::kInvalid;
    if (s.n == 0 || s.c == 0 || s.h == 0 || s.w == 0) return Work::kNone;
    int64_t positions = 1;
    for (const int64_t size : {s.n, (s.c - 1) / kChannelsPerWord + 1, s.h, s.w}) {
      if (size > (kPositions - 1) / positions) return Work::kInvalid;
      positions *= size;
    }
    return Work::kSome;
  }
  // The same with the tensors. Only an empty one may have a null address.
  Work work(const void* full, const void* pooled, const void* codes) const {
    const Work sizes = work();
    if (sizes != Work::kSome) return sizes;
    const bool pools = s.pooled_h() * s.pooled_w() > 0;
    const bool missing = full == nullptr || (pools && (pooled == nullptr || codes == nullptr));
    return missing ? Work::kInvalid : Work::kSome;
  }

  bool channels_last() const { return layout != Layout::kLinear; }
  // The distance between two pixels in elements, channels last.
  int64_t pitch() const { return layout == Layout::kChannelsLast8 ? (s.c + 7) / 8 * 8 : s.c; }

};

// Whether an address is a multiple of the size of such a run, or of 16 bytes.
template <typename V>
bool aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % alignof(V) == 0;
}

// Whether rows (NCHW) or pixels (channels last) can be accessed in runs of kWidth elements.
template <typename T, int kWidth>
bool fits(const Planes& on, const void* full, const void* pooled, const void* codes) {
  if (on.channels_last())
    return on.pitch() % kWidth == 0 && aligned<Run<T, kWidth>>(full) &&
           aligned<Run<T, kWidth>>(pooled);
  constexpr int kWindows = Runs<T, kWidth>::kWindows;
  return on.s.w % kWidth == 0 && aligned<Run<T, kWidth>>(full) &&
         aligned<Run<T, kWindows>>(pooled) && aligned<Run<int32_t, kWindows>>(codes);
}

constexpr int64_t kParts = kChannelsPerWord / kQuad;  // the most among which channels are divided

// Returns the runs of a pooling: its channels are divided only if there are too few threads.
template <typename T, int kWidth>
Runs<T, kWidth> pooling_runs(const Planes& on, int64_t rows, int64_t columns) {
  const int64_t threads = Runs<T, kWidth>(on.s, rows, columns, 1).threads();
  int64_t parts = 1;
  while (parts < kParts && threads * parts < on.wanted_threads()) parts *= 2;
  return {on.s, rows, columns, parts};
}

template <typename T, int kWidth = kAccess / static_cast<int>(sizeof(T)), typename Run>
auto pool_as(const Planes& on, const T* x, T* y, int32_t* codes, Run run) {
  if constexpr (kWidth > 1)
    if (!fits<T, kWidth>(on, x, y, codes)) return pool_as<T, kWidth / 2>(on, x, y, codes, run);
  const int64_t rows = on.s.pooled_h(), columns = on.s.pooled_w();
  if (on.channels_last())
    return run(PoolPixels<T, kWidth>{{on.s, on.pitch(), rows, columns}, x, y, codes});
  return run(PoolRuns<T, kWidth>{pooling_runs<T, kWidth>(on, rows, columns), x, y, codes});
}

template <typename T, int kWidth = kAccess / static_cast<int>(sizeof(T)), typename Run>
auto unpool_as(const Planes& on, const T* y, const int32_t* codes, T* x, Run run) {
  if constexpr (kWidth > 1)
    if (!fits<T, kWidth>(on, x, y, codes)) return unpool_as<T, kWidth / 2>(on, y, codes, x, run);
  const int64_t rows = on.s.cell_rows(), columns = on.s.cell_columns();
  if (on.channels_last())
    return run(UnpoolPixels<T, kWidth>{{on.s, on.pitch(), rows, columns}, y, codes, x});
  return run(UnpoolRuns<T, kWidth>{{on.s, rows, columns, kParts}, y, codes, x});
}

// Calls call(element) with an element of the type of `kind`.
template <typename Call>
auto with_type_of(DataKind kind, Call call) {
  switch (kind) {
    case DataKind::kFloat16: return call(Half{});
    case DataKind::kBFloat16: return call(BFloat16{});
    case DataKind::kInt8: return call(int8_t{});
    default: return call(float{});
  }
}

template <typename Run>
auto pool(const Planes& on, const void* x, void* y, int32_t* codes, Run run) {
  const Work work = on.work(x, y, codes);
  if (work != Work::kSome) return run(work);
  if (on.s.pooled_h() * on.s.pooled_w() == 0) return run(Work::kNone);
  return with_type_of(on.kind, [&](auto element) {
    using T = decltype(element);
    return pool_as<T>(on, static_cast<const T*>(x), static_cast<T*>(y), codes, run);
  });
}

template <typename Run>
auto unpool(const Planes& on, const void* y, const int32_t* codes, void* x, Run run) {
  const Work work = on.work(x, y, codes);
  if (work != Work::kSome) return run(work);
  return with_type_of(on.kind, [&](auto element) {
    using T = decltype(element);
    return unpool_as<T>(on, static_cast<const T*>(y), codes, static_cast<T*>(x), run);
  });
}

}  // namespace segnet
