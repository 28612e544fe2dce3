// NCHW: a thread computes adjacent windows of a row, for the channels of one code word or of a part
// of it. Adjacent threads compute adjacent windows. Channels last is in nhwc_pixels.h.
#pragma once

#include "code_words.h"
#include "divider.h"
#include "lanes.h"

namespace segnet {

// The assignment of threads to windows and channels, common to both operations. kWidth elements of
// a row are accessed at once, kWindows windows. The channels of a code word are divided among
// `parts` threads, 1, 2 or 4.
template <typename T, int kWidth>
struct Runs {
  static constexpr int kWindows = kWidth > 1 ? kWidth / 2 : 1;
  using Row = Run<T, 2 * kWindows>;
  using Lane = Words<T, kWindows>;

  PoolShape s;
  int64_t full, small;  // elements of a channel of the full plane, and of the pooled plane
  Divider columns, parts, rows, words;

  Runs(const PoolShape& s, int64_t rows, int64_t columns, int64_t parts)
      : s(s),
        full(s.h * s.w),
        small(s.pooled_h() * s.pooled_w()),
        columns((columns + kWindows - 1) / kWindows),
        parts(parts),
        rows(rows),
        words(s.words()) {}

  int64_t threads() const {
    return s.n * words.divisor * rows.divisor * columns.divisor * parts.divisor;
  }

  struct Place {
    int64_t image, word, row, column;  // of the first window
    uint32_t part;
    int first, end;  // channels of the code word
  };
  SEGNET_HD Place place(uint32_t thread) const {
    const uint32_t column = columns.take(&thread), part = parts.take(&thread);
    const uint32_t row = rows.take(&thread), word = words.take(&thread);
    const int each = kChannelsPerWord / static_cast<int>(parts.divisor);
    const int64_t left = s.c - int64_t{word} * kChannelsPerWord;
    const int first = static_cast<int>(part) * each;
    const int end = first + each < left ? first + each : static_cast<int>(left);
    return {thread, word, row, int64_t{column} * kWindows, part, first, end};
  }
  SEGNET_HD int64_t code(const Place& at) const {
    return ((at.image * s.words() + at.word) * s.pooled_h() + at.row) * s.pooled_w() + at.column;
  }
  // The first window's corner in the full plane, and its element of the pooled plane, for the first
  // channel.
  SEGNET_HD int64_t corner(const Place& at) const {
    return (plane(at) * s.h + 2 * at.row) * s.w + 2 * at.column;
  }
  SEGNET_HD int64_t pooled(const Place& at) const {
    return (plane(at) * s.pooled_h() + at.row) * s.pooled_w() + at.column;
  }
  SEGNET_HD int64_t plane(const Place& at) const {
    return at.image * s.c + at.word * kChannelsPerWord + at.first;
  }

  // Rows of one element are read and written element by element; `right` is whether there is a
  // second one.
  SEGNET_HD static Row read(const T* from, bool right) {
    if constexpr (kWidth > 1) {
      return load_run<T, kWidth>(from);
    } else {
      Row row{};
      row.of[0] = load(from);
      if (right) row.of[1] = load(from + 1);
      return row;
    }
  }
  SEGNET_HD static void write(T* to, const Row& row, bool right) {
    if constexpr (kWidth > 1) {
      store_run(to, row);
    } else {
      store(to, row.of[0]);
      if (right) store(to + 1, row.of[1]);
    }
  }
};

// The elements of a row at one side of each window: 0 is the left one.
template <typename T, int kWindows>
SEGNET_HD Words<T, kWindows> side_of(const Run<T, 2 * kWindows>& row, int side) {
  Run<T, kWindows> elements;
  SEGNET_UNROLL
  for (int j = 0; j < kWindows; ++j) elements.of[j] = row.of[2 * j + side];
  return Words<T, kWindows>(elements);
}

template <typename T, int kWidth>
struct PoolRuns {
  using On = Runs<T, kWidth>;
  using Lane = typename On::Lane;
  static constexpr int kWindows = On::kWindows;
  // Channels that are read before the first one is computed. With one more, int8 needs so many
  // registers that fewer threads run.
  static constexpr int kAhead = sizeof(T) > 1 ? 2 : 1;
  static constexpr uint32_t kCodes = (1u << 2 * kAhead) - 1;  // the bits of their codes
  // With the compiler's choice of registers, the widest of int8 spills from sm_100 on.
  static constexpr int kResident = kWidth == kAccess ? 1 : 0;

  On on;
  const T* x;
  T* y;
  int32_t* codes;

  int64_t threads() const { return on.threads(); }

  SEGNET_HD void operator()(uint32_t thread) const {
    const typename On::Place at = on.place(thread);
    const T* from = x + on.corner(at);
    T* to = y + on.pooled(at);
    uint32_t bits[kWindows] = {};
    SEGNET_LOOP
    for (int channel = 0; channel < at.end - at.first; channel += kAhead) {
      const Lane some = pool_some(at, from, to, at.end - at.first - channel);
      SEGNET_UNROLL
      for (int j = 0; j < kWindows; ++j) {
        const int lane = j % Lanes<T>::kCount * Lanes<T>::kBits;
        bits[j] |= (some.of[j / Lanes<T>::kCount] >> lane & kCodes) << (2 * channel);
      }
      from += kAhead * on.full, to += kAhead * on.small;
    }
    write_codes(at, bits);
  }

  // Pools kAhead channels of each window, or `count` if that is less, and returns their codes, two
  // bits for each channel in each lane. All are read before the first one is used.
  SEGNET_HD Lane pool_some(const typename On::Place& at, const T* from, T* to, int count) const {
    const bool right = kWidth > 1 || 2 * at.column + 1 < on.s.w, below = 2 * at.row + 1 < on.s.h;
    const bool inside[] = {true, right, below, right && below};
    typename On::Row top[kAhead] = {}, low[kAhead] = {};
    SEGNET_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      if (k >= count) continue;
      top[k] = On::read(from, right);
      if (below) low[k] = On::read(from + on.s.w, right);
      from += on.full;
    }
    Lane codes;
    SEGNET_UNROLL
    for (int k = 0; k < kAhead; ++k) {
      if (k >= count) continue;
      Lane value[4] = {side_of<T, kWindows>(top[k], 0), side_of<T, kWindows>(top[k], 1),
                       side_of<T, kWindows>(low[k], 0), side_of<T, kWindows>(low[k], 1)};
      const Lane code = pool_lanes<T>(value, inside);
      SEGNET_UNROLL
      for (int i = 0; i < Lane::kWords; ++i) codes.of[i] |= code.of[i] << (2 * k);
      store_run(to, value[0].elements());
      to += on.small;
    }
    return codes;
  }

  SEGNET_HD void write_codes(const typename On::Place& at, const uint32_t (&bits)[kWindows]) const {
    int32_t* word = codes + on.code(at);
    if (on.parts.divisor == 1) {
      Run<int32_t, kWindows> all;
      SEGNET_UNROLL
      for (int j = 0; j < kWindows; ++j) all.of[j] = static_cast<int32_t>(bits[j]);
      return store_run(word, all);
    }
    SEGNET_UNROLL
    for (int j = 0; j < kWindows; ++j) {
      if (on.parts.divisor == 2) store_codes<2>(word + j, at.part, bits[j]);
      if (on.parts.divisor == 4) store_codes<1>(word + j, at.part, bits[j]);
    }
  }
};

template <typename T, int kWidth>
struct UnpoolRuns {  // with four parts: a thread computes four channels
  using On = Runs<T, kWidth>;
  using Lane = typename On::Lane;
  static constexpr int kWindows = On::kWindows;
  static constexpr int kResident = 0;

  On on;
  const T* y;
  const int32_t* codes;
  T* x;

  int64_t threads() const { return on.threads(); }

  // Windows that were not pooled (odd sizes, rounded down) become zero.
  SEGNET_HD void operator()(uint32_t thread) const {
    const typename On::Place at = on.place(thread);
    const bool was_pooled = at.row < on.s.pooled_h() && at.column < on.s.pooled_w();
    const T* from = y + (was_pooled ? on.pooled(at) : 0);
    T* to = x + on.corner(at);
    Run<int32_t, kWindows> words{};
    if (was_pooled) words = load_run<int32_t, kWindows>(codes + on.code(at));
    Run<T, kWindows> values[kQuad] = {};
    SEGNET_UNROLL
    for (int k = 0; k < kQuad; ++k, from += on.small)
      if (was_pooled && at.first + k < at.end) values[k] = load_run<T, kWindows>(from);
    SEGNET_UNROLL
    for (int k = 0; k < kQuad; ++k, to += on.full)
      if (at.first + k < at.end)
        write(at, to, Lane(values[k]), codes_of(words, at.first + k));
  }

  // The codes of a channel of the code words, in the low two bits of each lane.
  SEGNET_HD static Lane codes_of(const Run<int32_t, kWindows>& words, int channel) {
    Lane codes;
    SEGNET_UNROLL
    for (int j = 0; j < kWindows; ++j) {
      const uint32_t code = static_cast<uint32_t>(words.of[j]) >> (2 * channel) & 3u;
      codes.of[j / Lanes<T>::kCount] |= code << (j % Lanes<T>::kCount * Lanes<T>::kBits);
    }
    return codes;
  }

  SEGNET_HD void write(const typename On::Place& at, T* to, const Lane& value,
                       const Lane& code) const {
    const PoolShape& s = on.s;
    const bool right = kWidth > 1 || 2 * at.column + 1 < s.w, below = 2 * at.row + 1 < s.h;
    SEGNET_UNROLL
    for (int half = 0; half < 2; ++half) {
      if (half && !below) continue;
      const auto first = unpool_lanes<T, kWindows>(value, code, 2 * half).elements();
      const auto second = unpool_lanes<T, kWindows>(value, code, 2 * half + 1).elements();
      typename On::Row row;
      SEGNET_UNROLL
      for (int j = 0; j < kWindows; ++j)
        row.of[2 * j] = first.of[j], row.of[2 * j + 1] = second.of[j];
      On::write(to + half * s.w, row, right);
    }
  }
};

}  // namespace segnet
