// Which operation takes which shape, and a call of it: run(operation).
#pragma once

#include "nchw_runs.h"
#include "nhwc_pixels.h"
#include "tiles.h"

namespace segnet {

// What pool reads and unpool writes is `full`; both know the codes of `pooled`.
struct Planes {
  PoolShape s;
  DataKind kind;
  Layout layout;

  bool last() const { return layout != Layout::kLinear; }
  int64_t pitch() const { return layout == Layout::kChannelsLast8 ? (s.c + 7) / 8 * 8 : s.c; }
};

inline bool aligned(const void* a, const void* b, const void* c) {
  const auto bits = [](const void* p) { return reinterpret_cast<uintptr_t>(p); };
  return (bits(a) | bits(b) | bits(c)) % kAccess == 0;
}

template <typename T, typename Run>
auto pool_as(const Planes& on, const void* x, void* y, int32_t* codes, Run run) {
  const auto* from = static_cast<const T*>(x);
  auto* to = static_cast<T*>(y);
  if (!on.last() && takes_runs<T>(on.s) && aligned(x, y, codes))
    return run(PoolRuns<T>{{on.s}, from, to, codes});
  if (on.last() && takes_pixels<T>(on.pitch()) && aligned(x, y, codes))
    return run(PoolPixels<T>{{on.s, on.pitch()}, from, to, codes});
  return run(PoolTiles<T>{tiling_of(on.s, on.last(), on.pitch(), sizeof(T)), from, to, codes});
}

template <typename T, typename Run>
auto unpool_as(const Planes& on, const void* y, const int32_t* codes, void* x, Run run) {
  const auto* from = static_cast<const T*>(y);
  auto* to = static_cast<T*>(x);
  if (!on.last() && takes_runs<T>(on.s) && aligned(x, y, codes))
    return run(UnpoolRuns<T>{{on.s}, from, codes, to});
  if (on.last() && takes_pixels<T>(on.pitch()) && aligned(x, y, codes))
    return run(UnpoolPixels<T>{{on.s, on.pitch()}, from, codes, to});
  return run(UnpoolTiles<T>{tiling_of(on.s, on.last(), on.pitch(), sizeof(T)), from, codes, to});
}

template <typename Run>
auto pool(const Planes& on, const void* x, void* y, int32_t* codes, Run run) {
  switch (on.kind) {
    case DataKind::kFloat16: return pool_as<Half>(on, x, y, codes, run);
    case DataKind::kBFloat16: return pool_as<BFloat16>(on, x, y, codes, run);
    case DataKind::kInt8: return pool_as<int8_t>(on, x, y, codes, run);
    default: return pool_as<float>(on, x, y, codes, run);
  }
}

template <typename Run>
auto unpool(const Planes& on, const void* y, const int32_t* codes, void* x, Run run) {
  switch (on.kind) {
    case DataKind::kFloat16: return unpool_as<Half>(on, y, codes, x, run);
    case DataKind::kBFloat16: return unpool_as<BFloat16>(on, y, codes, x, run);
    case DataKind::kInt8: return unpool_as<int8_t>(on, y, codes, x, run);
    default: return unpool_as<float>(on, y, codes, x, run);
  }
}

}  // namespace segnet
