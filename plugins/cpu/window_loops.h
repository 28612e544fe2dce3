// The loops over 2x2 windows that both CPU kernels share: byte_codes.cpp stores one code per byte,
// two_bit_codes.cpp sixteen codes per 32-bit word.
#pragma once

#include <algorithm>
#include <cstdint>

#include "instruction_sets.h"

namespace segnet {

// How a window's code is stored: in a byte, or in bits [shift, shift + 2) of a zeroed word.
struct ByteCode {
  using Stored = uint8_t;
  SEGNET_INLINE uint8_t add(uint8_t, uint8_t code) const { return code; }
  SEGNET_INLINE uint8_t read(uint8_t byte) const { return byte; }
};
struct TwoBitCode {
  using Stored = uint32_t;
  int shift;
  SEGNET_INLINE uint32_t add(uint32_t word, uint32_t code) const { return word | code << shift; }
  SEGNET_INLINE uint32_t read(uint32_t word) const { return word >> shift & 3u; }
};

// A later element replaces the maximum if it is larger or NaN, as in PyTorch.
template <typename T, typename Code>
SEGNET_INLINE void update_maximum(T value, Code position, T& best, Code& code) {
  const bool wins = (value > best) | (value != value);
  best = wins ? value : best;
  code = wins ? position : code;
}

// Pools windows [first, last) of a row. A pixel is `lanes` adjacent elements, each pooled
// separately. `right` and `below` are false if the windows' second column or row is outside the
// plane. Elements are addressed by index: GCC makes slower code of advanced pointers.
template <typename T, typename Format>
SEGNET_INLINE void pool_windows(const T* top, const T* low, int64_t lanes, int64_t first,
                                int64_t last, bool right, bool below, T* y,
                                typename Format::Stored* codes, Format format) {
  using Code = typename Format::Stored;
  for (int64_t j = first; j < last; ++j)
    for (int64_t k = 0; k < lanes; ++k) {
      const int64_t e = 2 * j * lanes + k;
      T best = top[e];
      Code code = 0;
      if (right) update_maximum<T, Code>(top[e + lanes], 1, best, code);
      if (below) update_maximum<T, Code>(low[e], 2, best, code);
      if (right && below) update_maximum<T, Code>(low[e + lanes], 3, best, code);
      y[j * lanes + k] = best;
      codes[j * lanes + k] = format.add(codes[j * lanes + k], code);
    }
}

// Pools one window into one pixel.
template <typename T>
SEGNET_INLINE void pool_window(const T* top, const T* low, int64_t lanes, bool right, bool below,
                               T* SEGNET_RESTRICT y, uint8_t* SEGNET_RESTRICT codes) {
  pool_windows(top, low, lanes, 0, 1, right, below, y, codes, ByteCode{});
}

// Pools two rows of width `w` into one of width `wo`; `low` is null below the plane. The last of
// an odd number of columns is a window without its right column.
template <typename T, typename Format>
SEGNET_INLINE void pool_row(const T* top, const T* low, int64_t lanes, int64_t w, int64_t wo,
                            T* SEGNET_RESTRICT y, typename Format::Stored* SEGNET_RESTRICT codes,
                            Format format) {
  const int64_t whole = std::min(w / 2, wo);
  if (low != nullptr) {
    pool_windows(top, low, lanes, 0, whole, true, true, y, codes, format);
    pool_windows(top, low, lanes, whole, wo, false, true, y, codes, format);
  } else {
    pool_windows(top, top, lanes, 0, whole, true, false, y, codes, format);
    pool_windows(top, top, lanes, whole, wo, false, false, y, codes, format);
  }
}

// Writes the pixel at `position` of one window: the pooled value if it came from there, else 0.
template <typename T>
SEGNET_INLINE void unpool_pixel(const T* SEGNET_RESTRICT y, const uint8_t* SEGNET_RESTRICT codes,
                                uint8_t position, int64_t lanes, T* SEGNET_RESTRICT x) {
  for (int64_t k = 0; k < lanes; ++k) {
    const T value = y[k];
    x[k] = codes[k] == position ? value : T{};
  }
}

// Writes row 2i (`half` 0) or 2i + 1 (`half` 1) of the full plane from pooled row i; `y` is null
// if the plane has no such pooled row.
template <typename T, typename Format>
SEGNET_INLINE void unpool_row(const T* SEGNET_RESTRICT y,
                              const typename Format::Stored* SEGNET_RESTRICT codes, int half,
                              int64_t lanes, int64_t w, int64_t wo, T* SEGNET_RESTRICT x,
                              Format format) {
  using Code = typename Format::Stored;
  const int64_t whole = y == nullptr ? 0 : std::min(w / 2, wo);
  const Code left = static_cast<Code>(2 * half), right = static_cast<Code>(left + 1);
  for (int64_t j = 0; j < whole; ++j)
    for (int64_t k = 0; k < lanes; ++k) {
      const T value = y[j * lanes + k];
      const Code code = format.read(codes[j * lanes + k]);
      x[2 * j * lanes + k] = code == left ? value : T{};
      x[(2 * j + 1) * lanes + k] = code == right ? value : T{};
    }
  std::fill(x + 2 * whole * lanes, x + w * lanes, T{});
  if (y == nullptr || whole == wo) return;
  for (int64_t k = 0; k < lanes; ++k)  // the last window, without its right column
    if (format.read(codes[whole * lanes + k]) == left)
      x[2 * whole * lanes + k] = y[whole * lanes + k];
}

}  // namespace segnet
