// Selects the operation for a shape, layout and element type, and calls run(operation): runs of
// NCHW (nchw_runs.h), pixels of channels last (nhwc_pixels.h), or tiles for the rest (tiles.h).
#pragma once

#include "nchw_runs.h"
#include "nhwc_pixels.h"
#include "tiles.h"

namespace segnet {

// The planes of a call: their sizes, element type and layout.
struct Planes {
  PoolShape s;
  DataKind kind;
  Layout layout;

  bool channels_last() const { return layout != Layout::kLinear; }
  // The distance between two pixels in elements, channels last.
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
  if (!on.channels_last() && has_whole_sector_rows<T>(on.s) && aligned(x, y, codes))
    return run(PoolRuns<T>{{on.s}, from, to, codes});
  if (on.channels_last() && has_whole_sector_pixels<T>(on.pitch()) && aligned(x, y, codes))
    return run(PoolPixels<T>{{on.s, on.pitch()}, from, to, codes});
  const Tiling tiling = tiling_of(on.s, on.channels_last(), on.pitch(), sizeof(T));
  return run(PoolTiles<T>{tiling, from, to, codes});
}

template <typename T, typename Run>
auto unpool_as(const Planes& on, const void* y, const int32_t* codes, void* x, Run run) {
  const auto* from = static_cast<const T*>(y);
  auto* to = static_cast<T*>(x);
  if (!on.channels_last() && has_whole_sector_rows<T>(on.s) && aligned(x, y, codes))
    return run(UnpoolRuns<T>{{on.s}, from, codes, to});
  if (on.channels_last() && has_whole_sector_pixels<T>(on.pitch()) && aligned(x, y, codes))
    return run(UnpoolPixels<T>{{on.s, on.pitch()}, from, codes, to});
  const Tiling tiling = tiling_of(on.s, on.channels_last(), on.pitch(), sizeof(T));
  return run(UnpoolTiles<T>{tiling, from, codes, to});
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
