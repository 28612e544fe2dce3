// Selects the operation for a shape, layout and element type, and calls run(operation): runs of
// NCHW (nchw_runs.h), pixels of channels last (nhwc_pixels.h), or tiles for the rest (tiles.h).
#pragma once

#include <initializer_list>

#include "nchw_runs.h"
#include "nhwc_pixels.h"
#include "tiles.h"

namespace segnet {

// What a call has to do: report an error, nothing (a tensor is empty), or an operation. pool() and
// unpool() call run(Work) for the first two.
enum class Work { kInvalid, kNone, kSome };

// The kernels number positions of the full plane, counted in code words, in 32 bits.
constexpr int64_t kPositions = int64_t{1} << 31;

// The planes of a call: their sizes, element type and layout.
struct Planes {
  PoolShape s;
  DataKind kind;
  Layout layout;
  int processors = 0;  // of the device; 0 gives the largest blocks

  // With fewer, each block gets less work. Four, so that one computes while others wait for memory.
  int64_t wanted_blocks() const { return int64_t{4} * processors; }
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

inline bool aligned(const void* a, const void* b, const void* c) {
  const auto bits = [](const void* p) { return reinterpret_cast<uintptr_t>(p); };
  return (bits(a) | bits(b) | bits(c)) % kAccess == 0;
}

template <typename T, typename Run>
auto pool_as(const Planes& on, const void* x, void* y, int32_t* codes, Run run) {
  const auto* from = static_cast<const T*>(x);
  auto* to = static_cast<T*>(y);
  if (!on.channels_last() && has_whole_sector_rows<T>(on.s) && aligned(x, y, codes))
    return run(PoolRuns<T>{runs_of<T>(on.s, on.s.pooled_h(), on.wanted_blocks()), from, to, codes});
  const Pixels<T> pixels = pixels_of<T>(on.s, on.pitch(), on.wanted_blocks());
  if (on.channels_last() && pixels.usable() && aligned(x, y, codes))
    return run(PoolPixels<T>{pixels, from, to, codes});
  const Tiling tiling =
      tiling_of(on.s, on.channels_last(), on.pitch(), sizeof(T), on.wanted_blocks());
  return run(PoolTiles<T>{tiling, from, to, codes});
}

template <typename T, typename Run>
auto unpool_as(const Planes& on, const void* y, const int32_t* codes, void* x, Run run) {
  const auto* from = static_cast<const T*>(y);
  auto* to = static_cast<T*>(x);
  if (!on.channels_last() && has_whole_sector_rows<T>(on.s) && aligned(x, y, codes))
    return run(
        UnpoolRuns<T>{runs_of<T>(on.s, on.s.cell_rows(), on.wanted_blocks()), from, codes, to});
  const Pixels<T> pixels = pixels_of<T>(on.s, on.pitch(), on.wanted_blocks());
  if (on.channels_last() && pixels.usable() && aligned(x, y, codes))
    return run(UnpoolPixels<T>{pixels, from, codes, to});
  const Tiling tiling =
      tiling_of(on.s, on.channels_last(), on.pitch(), sizeof(T), on.wanted_blocks());
  return run(UnpoolTiles<T>{tiling, from, codes, to});
}

template <typename Run>
auto pool(const Planes& on, const void* x, void* y, int32_t* codes, Run run) {
  const Work work = on.work(x, y, codes);
  if (work != Work::kSome) return run(work);
  switch (on.kind) {
    case DataKind::kFloat16: return pool_as<Half>(on, x, y, codes, run);
    case DataKind::kBFloat16: return pool_as<BFloat16>(on, x, y, codes, run);
    case DataKind::kInt8: return pool_as<int8_t>(on, x, y, codes, run);
    default: return pool_as<float>(on, x, y, codes, run);
  }
}

template <typename Run>
auto unpool(const Planes& on, const void* y, const int32_t* codes, void* x, Run run) {
  const Work work = on.work(x, y, codes);
  if (work != Work::kSome) return run(work);
  switch (on.kind) {
    case DataKind::kFloat16: return unpool_as<Half>(on, y, codes, x, run);
    case DataKind::kBFloat16: return unpool_as<BFloat16>(on, y, codes, x, run);
    case DataKind::kInt8: return unpool_as<int8_t>(on, y, codes, x, run);
    default: return unpool_as<float>(on, y, codes, x, run);
  }
}

}  // namespace segnet
