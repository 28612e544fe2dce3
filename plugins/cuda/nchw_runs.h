// NCHW whose rows are whole sectors: a thread computes 16 bytes of a row of the full plane, for
// the 16 channels of one code word. Other rows are in tiles.h, channels last in nhwc_pixels.h.
#pragma once

#include "element.h"
#include "memory_access.h"

namespace segnet {

// Windows of a thread.
template <typename T>
constexpr int kWindows = kAccess / 2 / static_cast<int>(sizeof(T));

// Channels whose loads are issued before the first one is used.
template <typename T>
constexpr int kInFlight = static_cast<int>(sizeof(T));

// The window, or group of windows, of a thread.
struct Cell {
  int64_t image, word, row, column;
};

// Columns vary fastest, so that adjacent threads access adjacent columns. Numbers fit in 32 bits:
// the launchers reject larger planes.
SEGNET_HD Cell cell_of(uint32_t thread, uint32_t words, uint32_t rows, uint32_t columns) {
  const uint32_t column = thread % columns, row = thread / columns % rows;
  const uint32_t plane = thread / columns / rows;
  return {plane / words, plane % words, row, column};
}

SEGNET_HD int channels_of(const PoolShape& s, int64_t word) {
  const int64_t rest = s.c - word * kChannelsPerWord;
  return rest < kChannelsPerWord ? static_cast<int>(rest) : kChannelsPerWord;
}

// at.column counts groups of kWindows windows.
template <typename T>
SEGNET_HD void pool_run(const PoolShape& s, const Cell& at, const T* x, T* y, int32_t* codes) {
  constexpr int kRun = kWindows<T>;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), first = at.column * kRun;
  const int64_t from = at.image * s.c + at.word * kChannelsPerWord;
  const bool below = 2 * at.row + 1 < s.h;
  const int channels = channels_of(s, at.word);
  Run<int32_t, kRun> words{};
  for (int group = 0; group < channels; group += kInFlight<T>) {
    Run<T, 2 * kRun> top[kInFlight<T>], low[kInFlight<T>];
    SEGNET_UNROLL
    for (int k = 0; k < kInFlight<T>; ++k) {
      if (group + k >= channels) continue;
      const T* corner = x + ((from + group + k) * s.h + 2 * at.row) * s.w + 2 * first;
      top[k] = load_run<T, 2 * kRun>(corner, 4 * (group + k));
      low[k] = below ? load_run<T, 2 * kRun>(corner + s.w, 4 * (group + k) + 1) : top[k];
    }
    SEGNET_UNROLL
    for (int k = 0; k < kInFlight<T>; ++k) {
      if (group + k >= channels) continue;
      Run<T, kRun> best;
      SEGNET_UNROLL
      for (int j = 0; j < kRun; ++j) {
        T value = top[k].of[2 * j];
        uint32_t code = 0;
        if (wins(top[k].of[2 * j + 1], value)) value = top[k].of[2 * j + 1], code = 1;
        if (below && wins(low[k].of[2 * j], value)) value = low[k].of[2 * j], code = 2;
        if (below && wins(low[k].of[2 * j + 1], value)) value = low[k].of[2 * j + 1], code = 3;
        best.of[j] = value;
        words.of[j] |= static_cast<int32_t>(code << (2 * (group + k)));
      }
      store_run(y + ((from + group + k) * ho + at.row) * wo + first, best, 4 * (group + k) + 2);
    }
  }
  store_run(codes + ((at.image * s.words() + at.word) * ho + at.row) * wo + first, words, -1);
}

// The inverse of pool_run. A last row that was not pooled (odd height, rounded down) becomes zero.
template <typename T>
SEGNET_HD void unpool_run(const PoolShape& s, const Cell& at, const T* y, const int32_t* codes,
                          T* x) {
  constexpr int kRun = kWindows<T>;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), first = at.column * kRun;
  const int64_t from = at.image * s.c + at.word * kChannelsPerWord;
  const bool below = 2 * at.row + 1 < s.h, was_pooled = at.row < ho;
  const int channels = channels_of(s, at.word);
  Run<int32_t, kRun> words{};
  if (was_pooled) {
    const int64_t word = ((at.image * s.words() + at.word) * ho + at.row) * wo + first;
    words = load_run<int32_t, kRun>(codes + word, -1);
  }
  for (int group = 0; group < channels; group += kInFlight<T>) {
    Run<T, kRun> values[kInFlight<T>] = {};
    SEGNET_UNROLL
    for (int k = 0; k < kInFlight<T>; ++k)
      if (was_pooled && group + k < channels)
        values[k] =
            load_run<T, kRun>(y + ((from + group + k) * ho + at.row) * wo + first, 4 * (group + k));
    SEGNET_UNROLL
    for (int k = 0; k < kInFlight<T>; ++k) {
      if (group + k >= channels) continue;
      T* corner = x + ((from + group + k) * s.h + 2 * at.row) * s.w + 2 * first;
      SEGNET_UNROLL
      for (uint32_t half = 0; half < 2; ++half) {
        if (half && !below) continue;
        Run<T, 2 * kRun> out;
        SEGNET_UNROLL
        for (int j = 0; j < kRun; ++j) {
          const uint32_t code = static_cast<uint32_t>(words.of[j]) >> (2 * (group + k)) & 3u;
          out.of[2 * j] = code == 2 * half ? values[k].of[j] : T{};
          out.of[2 * j + 1] = code == 2 * half + 1 ? values[k].of[j] : T{};
        }
        store_run(corner + half * s.w, out, 4 * (group + k) + 1 + static_cast<int>(half));
      }
    }
  }
}

template <typename T>
bool has_whole_sector_rows(const PoolShape& s) {
  return s.w * static_cast<int64_t>(sizeof(T)) % kSector == 0;
}

// The assignment of threads to cells, common to both operations.
template <typename T>
struct Runs {
  PoolShape s;

  SEGNET_HD int64_t columns() const { return s.w / (2 * kWindows<T>); }
  SEGNET_HD int64_t threads(int64_t rows) const { return s.n * s.words() * rows * columns(); }
  SEGNET_HD Cell cell(uint32_t thread, int64_t rows) const {
    return cell_of(thread, s.words(), rows, columns());
  }
};

template <typename T>
struct PoolRuns {
  Runs<T> on;
  const T* x;
  T* y;
  int32_t* codes;

  uint32_t blocks() const { return blocks_for(on.threads(on.s.pooled_h())); }
  int shared_bytes() const { return 0; }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char*, Each each) const {
    const int64_t rows = on.s.pooled_h();
    each([&](uint32_t t) {
      const uint32_t thread = block * kThreads + t;
      if (thread < on.threads(rows)) pool_run<T>(on.s, on.cell(thread, rows), x, y, codes);
    });
  }
};

template <typename T>
struct UnpoolRuns {
  Runs<T> on;
  const T* y;
  const int32_t* codes;
  T* x;

  uint32_t blocks() const { return blocks_for(on.threads(on.s.cell_rows())); }
  int shared_bytes() const { return 0; }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char*, Each each) const {
    const int64_t rows = on.s.cell_rows();
    each([&](uint32_t t) {
      const uint32_t thread = block * kThreads + t;
      if (thread < on.threads(rows)) unpool_run<T>(on.s, on.cell(thread, rows), y, codes, x);
    });
  }
};

}  // namespace segnet
