// What one thread does, channels last: kCount channels of one 2x2 window position.
// 16 / kCount neighbouring threads make one code word. NCHW is in window.h.
#pragma once

#include "window.h"

namespace segnet {

// Words that neighbouring threads take, so that they fill a 32-byte sector of a pixel.
template <typename T>
constexpr int kWordsTogether = sizeof(T) == 1 ? 2 : 1;

template <typename T>
SEGNET_HD int64_t cells_last(const PoolShape& s, int64_t rows, int64_t columns) {
  constexpr int kTogether = kWordsTogether<T>;
  return s.n * ((s.words() + kTogether - 1) / kTogether * kTogether) * rows * columns;
}

// After those words columns run fastest: then code words of a warp are neighbours as well.
// The word can lie beyond the last one: such a cell has nothing to do.
template <typename T>
SEGNET_HD Cell cell_of_last(int64_t cell, const PoolShape& s, int64_t rows, int64_t columns) {
  constexpr int kTogether = kWordsTogether<T>;
  const int64_t groups = (s.words() + kTogether - 1) / kTogether, place = cell / kTogether;
  const int64_t group = place / (rows * columns);
  return {group / groups, group % groups * kTogether + cell % kTogether, place / columns % rows,
          place % columns};
}

template <typename T, int kCount>
SEGNET_HD Run<T, kCount> pixel(const T* plane, int64_t place, int64_t pitch, int64_t first,
                                    int step) {
  return load(reinterpret_cast<const Run<T, kCount>*>(plane + place * pitch + first), step);
}

// Pools the channels of `part`; returns their bits of the code word. `pitch` is what lies
// between two pixels: c, or c padded.
template <typename T, int kCount>
SEGNET_HD uint32_t pool_part(const PoolShape& s, int64_t pitch, const Cell& at, int part,
                             const T* x, T* y) {
  const int64_t first = at.word * kChannelsPerWord + part * kCount;
  if (first >= pitch) return 0;
  const bool right = 2 * at.column + 1 < s.w, below = 2 * at.row + 1 < s.h;
  const int64_t corner = (at.image * s.h + 2 * at.row) * s.w + 2 * at.column;
  Run<T, kCount> best = pixel<T, kCount>(x, corner, pitch, first, 0);
  uint32_t bits = 0;
  for (uint32_t e = 1; e < 4; ++e) {
    if ((e % 2 && !right) || (e / 2 && !below)) continue;
    const Run<T, kCount> value =
        pixel<T, kCount>(x, corner + e / 2 * s.w + e % 2, pitch, first, static_cast<int>(e));
    for (int k = 0; k < kCount; ++k)
      if (wins(value.of[k], best.of[k])) {
        best.of[k] = value.of[k];
        const int shift = 2 * (part * kCount + k);
        if (first + k < s.c) bits = (bits & ~(3u << shift)) | e << shift;
      }
  }
  const int64_t pooled =
      (at.image * s.pooled_h() + at.row) * s.pooled_w() + at.column;
  store(reinterpret_cast<Run<T, kCount>*>(y + pooled * pitch + first), best, 4);
  return bits;
}

// Cells cover the whole plane: beyond the pooled part (odd sizes, floor) they write zeros.
template <typename T, int kCount>
SEGNET_HD void unpool_part(const PoolShape& s, int64_t pitch, const Cell& at, int part, const T* y,
                           const int32_t* codes, T* x) {
  const int64_t first = at.word * kChannelsPerWord + part * kCount;
  if (first >= pitch) return;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  const bool kept = at.row < ho && at.column < wo;
  const int64_t word = ((at.image * s.words() + at.word) * ho + at.row) * wo + at.column;
  const uint32_t bits =
      kept ? static_cast<uint32_t>(load(codes + word, -1)) >> (2 * part * kCount) : 0u;
  Run<T, kCount> value{};
  if (kept) value = pixel<T, kCount>(y, (at.image * ho + at.row) * wo + at.column, pitch, first, 0);
  const int64_t corner = (at.image * s.h + 2 * at.row) * s.w + 2 * at.column;
  for (uint32_t e = 0; e < 4; ++e) {
    if (2 * at.row + e / 2 >= s.h || 2 * at.column + e % 2 >= s.w) continue;
    Run<T, kCount> out;
    for (int k = 0; k < kCount; ++k) out.of[k] = (bits >> (2 * k) & 3u) == e ? value.of[k] : T{};
    T* place = x + (corner + e / 2 * s.w + e % 2) * pitch + first;
    store(reinterpret_cast<Run<T, kCount>*>(place), out, 1 + static_cast<int>(e));
  }
}

}  // namespace segnet
