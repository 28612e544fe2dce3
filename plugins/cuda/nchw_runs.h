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

// Threads that can divide the channels of a code word among them.
constexpr uint32_t kParts = 4;

// The channels of a code word that a thread computes.
struct Channels {
  int first, end;
};

// Pools windows of some channels of a code word, and returns their codes. at.column counts groups
// of kWindows windows.
template <typename T>
SEGNET_HD Run<int32_t, kWindows<T>> pool_run(const PoolShape& s, const Cell& at,
                                             const Channels& channels, const T* x, T* y) {
  constexpr int kRun = kWindows<T>;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), first = at.column * kRun;
  const int64_t from = at.image * s.c + at.word * kChannelsPerWord;
  const bool below = 2 * at.row + 1 < s.h;
  Run<int32_t, kRun> words{};
  for (int group = channels.first; group < channels.end; group += kInFlight<T>) {
    Run<T, 2 * kRun> top[kInFlight<T>], low[kInFlight<T>];
    SEGNET_UNROLL
    for (int k = 0; k < kInFlight<T>; ++k) {
      if (group + k >= channels.end) continue;
      const T* corner = x + ((from + group + k) * s.h + 2 * at.row) * s.w + 2 * first;
      top[k] = load_run<T, 2 * kRun>(corner, 4 * (group + k));
      low[k] = below ? load_run<T, 2 * kRun>(corner + s.w, 4 * (group + k) + 1) : top[k];
    }
    SEGNET_UNROLL
    for (int k = 0; k < kInFlight<T>; ++k) {
      if (group + k >= channels.end) continue;
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
  return words;
}

// The inverse of pool_run. A last row that was not pooled (odd height, rounded down) becomes zero.
template <typename T>
SEGNET_HD void unpool_run(const PoolShape& s, const Cell& at, const Channels& channels, const T* y,
                          const int32_t* codes, T* x) {
  constexpr int kRun = kWindows<T>;
  const int64_t ho = s.pooled_h(), wo = s.pooled_w(), first = at.column * kRun;
  const int64_t from = at.image * s.c + at.word * kChannelsPerWord;
  const bool below = 2 * at.row + 1 < s.h, was_pooled = at.row < ho;
  Run<int32_t, kRun> words{};
  if (was_pooled) {
    const int64_t word = ((at.image * s.words() + at.word) * ho + at.row) * wo + first;
    words = load_run<int32_t, kRun>(codes + word, -1);
  }
  for (int group = channels.first; group < channels.end; group += kInFlight<T>) {
    Run<T, kRun> values[kInFlight<T>] = {};
    SEGNET_UNROLL
    for (int k = 0; k < kInFlight<T>; ++k)
      if (was_pooled && group + k < channels.end)
        values[k] =
            load_run<T, kRun>(y + ((from + group + k) * ho + at.row) * wo + first, 4 * (group + k));
    SEGNET_UNROLL
    for (int k = 0; k < kInFlight<T>; ++k) {
      if (group + k >= channels.end) continue;
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

// The assignment of threads to cells, common to both operations. `parts` adjacent threads, a power
// of two, divide the channels of a cell among them.
template <typename T>
struct Runs {
  PoolShape s;
  uint32_t parts;

  SEGNET_HD int64_t columns() const { return s.w / (2 * kWindows<T>); }
  SEGNET_HD int64_t threads(int64_t rows) const {
    return s.n * s.words() * rows * columns() * parts;
  }
  SEGNET_HD Cell cell(uint32_t thread, int64_t rows) const {
    return cell_of(thread / parts, s.words(), rows, columns());
  }
  SEGNET_HD Channels channels(const Cell& at, uint32_t thread) const {
    const int each = kChannelsPerWord / static_cast<int>(parts), all = channels_of(s, at.word);
    const int first = static_cast<int>(thread % parts) * each;
    return {first, first + each < all ? first + each : all};
  }
};

// Returns as many parts as needed for `wanted` blocks, but at most kParts.
template <typename T>
Runs<T> runs_of(const PoolShape& s, int64_t rows, int64_t wanted) {
  Runs<T> runs{s, 1};
  while (runs.parts < kParts && blocks_for(runs.threads(rows)) < wanted) runs.parts *= 2;
  return runs;
}

template <typename T>
struct PoolRuns {
  Runs<T> on;
  const T* x;
  T* y;
  int32_t* codes;

  using Words = Run<int32_t, kWindows<T>>;
  static constexpr int kResident = 3;

  uint32_t blocks() const { return blocks_for(on.threads(on.s.pooled_h())); }
  uint32_t block_threads() const { return kThreads; }
  int shared_bytes() const { return on.parts > 1 ? static_cast<int>(kThreads * sizeof(Words)) : 0; }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char* memory, Each each) const {
    const int64_t rows = on.s.pooled_h();
    auto* parts = reinterpret_cast<Words*>(memory);
    each([&](uint32_t t) {
      const uint32_t thread = block * kThreads + t;
      if (thread >= on.threads(rows)) return;
      const Cell at = on.cell(thread, rows);
      const Words words = pool_run<T>(on.s, at, on.channels(at, thread), x, y);
      if (on.parts > 1)
        parts[t] = words;
      else
        store_words(at, words);
    });
    if (on.parts == 1) return;
    each([&](uint32_t t) {
      const uint32_t thread = block * kThreads + t * on.parts;
      if (t >= kThreads / on.parts || thread >= on.threads(rows)) return;
      Words words = parts[t * on.parts];
      SEGNET_UNROLL
      for (uint32_t part = 1; part < kParts; ++part) {
        if (part >= on.parts) continue;
        const Words others = parts[t * on.parts + part];
        SEGNET_UNROLL
        for (int j = 0; j < kWindows<T>; ++j) words.of[j] |= others.of[j];
      }
      store_words(on.cell(thread, rows), words);
    });
  }

  SEGNET_HD void store_words(const Cell& at, const Words& words) const {
    const int64_t row = (at.image * on.s.words() + at.word) * on.s.pooled_h() + at.row;
    store_run(codes + row * on.s.pooled_w() + at.column * kWindows<T>, words, -1);
  }
};

template <typename T>
struct UnpoolRuns {
  static constexpr int kResident = 3;

  Runs<T> on;
  const T* y;
  const int32_t* codes;
  T* x;

  uint32_t blocks() const { return blocks_for(on.threads(on.s.cell_rows())); }
  uint32_t block_threads() const { return kThreads; }
  int shared_bytes() const { return 0; }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char*, Each each) const {
    const int64_t rows = on.s.cell_rows();
    each([&](uint32_t t) {
      const uint32_t thread = block * kThreads + t;
      if (thread >= on.threads(rows)) return;
      const Cell at = on.cell(thread, rows);
      unpool_run<T>(on.s, at, on.channels(at, thread), y, codes, x);
    });
  }
};

}  // namespace segnet
