// What one thread does, NCHW: one 2x2 window position, the 16 channels of one code word.
// Channels last is in window_last.h.
// Plain functions of the thread's number, so that a host loop runs the same code.
#pragma once

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

// kPairs: rows start at an even element, so that two columns are one access.
template <typename T, bool kPairs>
SEGNET_HD void pool_cell(const PoolShape& s, const Cell& at, const T* x, T* y, int32_t* codes) {
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  const bool right = 2 * at.column + 1 < s.w, below = 2 * at.row + 1 < s.h;
  const int channels = channels_of(s, at.word);
  uint32_t bits = 0;
  for (int k = 0; k < channels; ++k) {
    const int64_t plane = at.image * s.c + at.word * kChannelsPerWord + k;
    const T* top = x + (plane * s.h + 2 * at.row) * s.w + 2 * at.column;
    T best, value;
    uint32_t code = 0;
    if (kPairs) {
      const Pair<T> pair = load(reinterpret_cast<const Pair<T>*>(top), 8 * k);
      best = pair.first, value = pair.second;
    } else {
      best = load(top, 8 * k), value = right ? load(top + 1, 8 * k + 1) : best;
    }
    if (right && wins(value, best)) best = value, code = 1;
    if (below) {
      const T* low = top + s.w;
      T left;
      if (kPairs) {
        const Pair<T> pair = load(reinterpret_cast<const Pair<T>*>(low), 8 * k + 2);
        left = pair.first, value = pair.second;
      } else {
        left = load(low, 8 * k + 2), value = right ? load(low + 1, 8 * k + 3) : left;
      }
      if (wins(left, best)) best = left, code = 2;
      if (right && wins(value, best)) best = value, code = 3;
    }
    store(y + (plane * ho + at.row) * wo + at.column, best, 8 * k + 4);
    bits |= code << (2 * k);
  }
  store(codes + ((at.image * s.words() + at.word) * ho + at.row) * wo + at.column,
        static_cast<int32_t>(bits), -1);
}

// Cells cover the whole plane: beyond the pooled part (odd sizes, floor) they write zeros.
template <typename T, bool kPairs>
SEGNET_HD void unpool_cell(const PoolShape& s, const Cell& at, const T* y, const int32_t* codes,
                           T* x) {
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  const bool right = 2 * at.column + 1 < s.w, below = 2 * at.row + 1 < s.h;
  const bool kept = at.row < ho && at.column < wo;
  const int64_t word = ((at.image * s.words() + at.word) * ho + at.row) * wo + at.column;
  const uint32_t bits = kept ? static_cast<uint32_t>(load(codes + word, -1)) : 0u;
  const int channels = channels_of(s, at.word);
  for (int k = 0; k < channels; ++k) {
    const int64_t plane = at.image * s.c + at.word * kChannelsPerWord + k;
    const T zero{};
    const T value = kept ? load(y + (plane * ho + at.row) * wo + at.column, 8 * k) : zero;
    const uint32_t code = bits >> (2 * k) & 3u;
    T* top = x + (plane * s.h + 2 * at.row) * s.w + 2 * at.column;
    for (int half = 0; half < (below ? 2 : 1); ++half) {
      const uint32_t left = 2 * half;
      const T first = code == left ? value : zero, second = code == left + 1 ? value : zero;
      const int step = 8 * k + 1 + 2 * half;
      T* row = top + half * s.w;
      if (kPairs) {
        store(reinterpret_cast<Pair<T>*>(row), Pair<T>{first, second}, step);
      } else {
        store(row, first, step);
        if (right) store(row + 1, second, step + 1);
      }
    }
  }
}

}  // namespace segnet
