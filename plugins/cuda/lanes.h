// Words of 32 bits with one, two or four elements (lanes), compared and selected together.
#pragma once

#include <cstring>
#include <type_traits>

#include "element.h"
#include "memory_access.h"

namespace segnet {

template <typename T>
struct Lanes {
  static constexpr int kCount = 4 / static_cast<int>(sizeof(T)), kBits = 8 * sizeof(T);
  static constexpr uint32_t kLane = 0xffffffffu >> (32 - kBits);  // all bits of the first lane
  static constexpr uint32_t kOnes = 0xffffffffu / kLane;          // 1 in every lane
};

// Returns all bits of the lanes in which a value replaces the best one (wins() of element.h).
template <typename T>
SEGNET_HD uint32_t winners(uint32_t values, uint32_t bests) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same<T, Half>::value) {
    __half2 v, b;
    std::memcpy(&v, &values, sizeof v), std::memcpy(&b, &bests, sizeof b);
    return __hgt2_mask(v, b) | __hneu2_mask(v, v);
  } else if constexpr (std::is_same<T, BFloat16>::value && __CUDA_ARCH__ >= 800) {
    __nv_bfloat162 v, b;
    std::memcpy(&v, &values, sizeof v), std::memcpy(&b, &bests, sizeof b);
    return __hgt2_mask(v, b) | __hneu2_mask(v, v);
  } else if constexpr (std::is_same<T, int8_t>::value) {
    return __vcmpgts4(values, bests);
  } else
#endif
  {
    Run<T, Lanes<T>::kCount> v, b;
    std::memcpy(&v, &values, sizeof v), std::memcpy(&b, &bests, sizeof b);
    uint32_t mask = 0;
    SEGNET_UNROLL
    for (int i = 0; i < Lanes<T>::kCount; ++i)
      mask |= wins(v.of[i], b.of[i]) ? Lanes<T>::kLane << (i * Lanes<T>::kBits % 32) : 0u;
    return mask;
  }
}

// kCount elements as words. Lanes beyond the last element are zero.
template <typename T, int kCount>
struct Words {
  static constexpr int kWords = (kCount + Lanes<T>::kCount - 1) / Lanes<T>::kCount;
  uint32_t of[kWords] = {};

  SEGNET_HD Words() {}
  SEGNET_HD explicit Words(const Run<T, kCount>& elements) {
    std::memcpy(of, &elements, sizeof elements);
  }
  SEGNET_HD Run<T, kCount> elements() const {
    Run<T, kCount> all;
    std::memcpy(&all, of, sizeof all);
    return all;
  }
};

// Pools windows whose four positions are in value[0..3]; value[e] counts only if inside[e]. The
// maxima are in value[0] afterwards; the codes are returned, in the low two bits of each lane.
template <typename T, int kCount>
SEGNET_HD Words<T, kCount> pool_lanes(Words<T, kCount> (&value)[4], const bool (&inside)[4]) {
  Words<T, kCount> codes;
  SEGNET_UNROLL
  for (int i = 0; i < Words<T, kCount>::kWords; ++i) {
    uint32_t best = value[0].of[i], code = 0;
    SEGNET_UNROLL
    for (uint32_t e = 1; e < 4; ++e) {
      const uint32_t mask = inside[e] ? winners<T>(value[e].of[i], best) : 0u;
      best = (value[e].of[i] & mask) | (best & ~mask);
      code = (e * Lanes<T>::kOnes & mask) | (code & ~mask);
    }
    value[0].of[i] = best;
    codes.of[i] = code;
  }
  return codes;
}

// Returns the elements whose code, in the low two bits of its lane of `codes`, is e; others are 0.
template <typename T, int kCount>
SEGNET_HD Words<T, kCount> unpool_lanes(const Words<T, kCount>& value,
                                        const Words<T, kCount>& codes, uint32_t e) {
  Words<T, kCount> out;
  SEGNET_UNROLL
  for (int i = 0; i < Words<T, kCount>::kWords; ++i) {
    const uint32_t low = (codes.of[i] & Lanes<T>::kOnes) * Lanes<T>::kLane;
    const uint32_t high = (codes.of[i] >> 1 & Lanes<T>::kOnes) * Lanes<T>::kLane;
    out.of[i] = value.of[i] & (e & 1 ? low : ~low) & (e & 2 ? high : ~high);
  }
  return out;
}

// Packs codes, two bits of each lane, into adjacent bits; kCount is at most 16.
template <typename T, int kCount>
SEGNET_HD uint32_t pack_codes(const Words<T, kCount>& codes) {
  uint32_t bits = 0;
  SEGNET_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const int lane = i % Lanes<T>::kCount, to = 2 * i, from = lane * Lanes<T>::kBits;
    const uint32_t word = codes.of[i / Lanes<T>::kCount];
    bits |= (to < from ? word >> (from - to) : word << (to - from)) & 3u << to;
  }
  return bits;
}

// The inverse of pack_codes.
template <typename T, int kCount>
SEGNET_HD Words<T, kCount> unpack_codes(uint32_t bits) {
  Words<T, kCount> codes;
  SEGNET_UNROLL
  for (int i = 0; i < kCount; ++i) {
    const int lane = i % Lanes<T>::kCount, from = 2 * i, to = lane * Lanes<T>::kBits;
    codes.of[i / Lanes<T>::kCount] |=
        (to < from ? bits >> (from - to) : bits << (to - from)) & 3u << to;
  }
  return codes;
}

}  // namespace segnet
