// What one thread does, NCHW: kWindows neighbouring 2x2 windows of a row, the 16 channels of
// one code word. Channels last is in window_last.h.
// Plain functions of the thread's number, so that a host loop runs the same code.
#pragma once

#include <type_traits>

#include "element.h"

namespace segnet {

// Where a thread works; x runs fastest, so that neighbours touch neighbouring columns.
struct Cell {
  int64_t image, word, row, column;
};

SEGNET_HD Cell cell_of(int64_t thread, int64_t words, int64_t rows, int64_t columns) {
  const int64_t column = thread % columns, row = thread / columns % rows;
  const int64_t plane = thread / (columns * rows);
  return {plane / words, plane % words, row, column};
}

SEGNET_HD int channels_of(const PoolShape& s, int64_t word) {
  const int64_t rest = s.c - word * kChannelsPerWord;
  return rest < kChannelsPerWord ? static_cast<int>(rest) : kChannelsPerWord;
}

// A run of kCount elements, in one access.
template <typename T, int kCount>
SEGNET_HD Run<T, kCount> load_run(const T* from, int step) {
  return load(reinterpret_cast<const Run<T, kCount>*>(from), step);
}

template <typename T, int kCount>
SEGNET_HD void store_run(T* to, const Run<T, kCount>& values, int step) {
  store(reinterpret_cast<Run<T, kCount>*>(to), values, step);
}

// at.column counts groups of kWindows; rows are aligned and hold whole groups.
template <typename T, int kWindows>
SEGNET_HD void pool_run(const PoolShape& s, const Cell& at, const T* x, T* y, int32_t* codes) {
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), first = at.column * kWindows;
  const bool below = 2 * at.row + 1 < s.h;
  const int channels = channels_of(s, at.word);
  Run<int32_t, kWindows> words{};
  for (int k = 0; k < channels; ++k) {
    const int64_t plane = at.image * s.c + at.word * kChannelsPerWord + k;
    const T* corner = x + (plane * s.h + 2 * at.row) * s.w + 2 * first;
    const Run<T, 2 * kWindows> top = load_run<T, 2 * kWindows>(corner, 8 * k);
    Run<T, 2 * kWindows> low = top;
    if (below) low = load_run<T, 2 * kWindows>(corner + s.w, 8 * k + 1);
    Run<T, kWindows> best;
    for (int j = 0; j < kWindows; ++j) {
      T value = top.of[2 * j];
      uint32_t code = 0;
      if (wins(top.of[2 * j + 1], value)) value = top.of[2 * j + 1], code = 1;
      if (below && wins(low.of[2 * j], value)) value = low.of[2 * j], code = 2;
      if (below && wins(low.of[2 * j + 1], value)) value = low.of[2 * j + 1], code = 3;
      best.of[j] = value;
      words.of[j] |= static_cast<int32_t>(code << (2 * k));
    }
    store_run(y + (plane * ho + at.row) * wo + first, best, 8 * k + 2);
  }
  store_run(codes + ((at.image * s.words() + at.word) * ho + at.row) * wo + first, words, -1);
}

// The inverse; rows beyond the pooled ones (odd height, floor) become zero.
template <typename T, int kWindows>
SEGNET_HD void unpool_run(const PoolShape& s, const Cell& at, const T* y, const int32_t* codes,
                          T* x) {
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), first = at.column * kWindows;
  const bool below = 2 * at.row + 1 < s.h, kept = at.row < ho;
  const int64_t word = ((at.image * s.words() + at.word) * ho + at.row) * wo + first;
  Run<int32_t, kWindows> words{};
  if (kept) words = load_run<int32_t, kWindows>(codes + word, -1);
  const int channels = channels_of(s, at.word);
  for (int k = 0; k < channels; ++k) {
    const int64_t plane = at.image * s.c + at.word * kChannelsPerWord + k;
    Run<T, kWindows> values{};
    if (kept) values = load_run<T, kWindows>(y + (plane * ho + at.row) * wo + first, 8 * k);
    T* corner = x + (plane * s.h + 2 * at.row) * s.w + 2 * first;
    for (uint32_t half = 0; half < (below ? 2u : 1u); ++half) {
      Run<T, 2 * kWindows> out;
      for (int j = 0; j < kWindows; ++j) {
        const uint32_t code = static_cast<uint32_t>(words.of[j]) >> (2 * k) & 3u;
        out.of[2 * j] = code == 2 * half ? values.of[j] : T{};
        out.of[2 * j + 1] = code == 2 * half + 1 ? values.of[j] : T{};
      }
      store_run(corner + half * s.w, out, 8 * k + 1 + static_cast<int>(half));
    }
  }
}

// Any width: one window, element by element.
template <typename T>
SEGNET_HD void pool_cell(const PoolShape& s, const Cell& at, const T* x, T* y, int32_t* codes) {
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  const bool right = 2 * at.column + 1 < s.w, below = 2 * at.row + 1 < s.h;
  const int channels = channels_of(s, at.word);
  uint32_t bits = 0;
  for (int k = 0; k < channels; ++k) {
    const int64_t plane = at.image * s.c + at.word * kChannelsPerWord + k;
    const T* corner = x + (plane * s.h + 2 * at.row) * s.w + 2 * at.column;
    T best = load(corner, 8 * k);
    uint32_t code = 0;
    for (uint32_t e = 1; e < 4; ++e) {
      if ((e % 2 && !right) || (e / 2 && !below)) continue;
      const T value = load(corner + e / 2 * s.w + e % 2, 8 * k + static_cast<int>(e));
      if (wins(value, best)) best = value, code = e;
    }
    store(y + (plane * ho + at.row) * wo + at.column, best, 8 * k + 4);
    bits |= code << (2 * k);
  }
  store(codes + ((at.image * s.words() + at.word) * ho + at.row) * wo + at.column,
        static_cast<int32_t>(bits), -1);
}

// Cells cover the whole plane: beyond the pooled part (odd sizes, floor) they write zeros.
template <typename T>
SEGNET_HD void unpool_cell(const PoolShape& s, const Cell& at, const T* y, const int32_t* codes,
                           T* x) {
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  const bool kept = at.row < ho && at.column < wo;
  const int64_t word = ((at.image * s.words() + at.word) * ho + at.row) * wo + at.column;
  const uint32_t bits = kept ? static_cast<uint32_t>(load(codes + word, -1)) : 0u;
  const int channels = channels_of(s, at.word);
  for (int k = 0; k < channels; ++k) {
    const int64_t plane = at.image * s.c + at.word * kChannelsPerWord + k;
    const T value = kept ? load(y + (plane * ho + at.row) * wo + at.column, 8 * k) : T{};
    const uint32_t code = bits >> (2 * k) & 3u;
    T* corner = x + (plane * s.h + 2 * at.row) * s.w + 2 * at.column;
    for (uint32_t e = 0; e < 4; ++e) {
      if (2 * at.row + e / 2 >= s.h || 2 * at.column + e % 2 >= s.w) continue;
      const T out = code == e ? value : T{};
      store(corner + e / 2 * s.w + e % 2, out, 8 * k + 1 + static_cast<int>(e));
    }
  }
}

// Windows per thread that a launcher and the host loops choose between: 16 bytes of a row of
// the full plane, half of that, one window, or 0: element by element.
template <typename T>
constexpr int kWidestRun = static_cast<int>(8 / sizeof(T));

template <int kWindows>
using Windows = std::integral_constant<int, kWindows>;

// Calls `use` with the widest run that divides every row, or with 0 where `vectors` is false.
template <typename T, typename Use>
auto with_windows(const PoolShape& s, bool vectors, Use use) {
  constexpr int kWidest = kWidestRun<T>;
  const auto divides = [&](int windows) { return vectors && s.w % (2 * windows) == 0; };
  if (divides(kWidest)) return use(Windows<kWidest>{});
  if (divides(kWidest / 2)) return use(Windows<kWidest / 2>{});
  return divides(1) ? use(Windows<1>{}) : use(Windows<0>{});
}

// Threads along a row: groups of kWindows, or `single` cells.
template <int kWindows>
int64_t columns_of(const PoolShape& s, int64_t single) {
  if constexpr (kWindows > 0)
    return s.w / (2 * kWindows);
  else
    return single;
}

template <typename T, int kWindows>
SEGNET_HD void pool_windows(const PoolShape& s, const Cell& at, const T* x, T* y, int32_t* codes) {
  if constexpr (kWindows > 0)
    pool_run<T, kWindows>(s, at, x, y, codes);
  else
    pool_cell<T>(s, at, x, y, codes);
}

template <typename T, int kWindows>
SEGNET_HD void unpool_windows(const PoolShape& s, const Cell& at, const T* y, const int32_t* codes,
                              T* x) {
  if constexpr (kWindows > 0)
    unpool_run<T, kWindows>(s, at, y, codes, x);
  else
    unpool_cell<T>(s, at, y, codes, x);
}

}  // namespace segnet
