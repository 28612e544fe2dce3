// Element types as plain storage, with the one thing that pooling asks of them: their order.
#pragma once

#include <cstring>

#include "segnet/window_code.h"
#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

namespace segnet {

// Every access to data goes through load and store, so that a recorder can watch a warp's
// accesses on the host. `step` numbers the accesses of a thread: those of one warp with one
// step are one instruction.
#if defined(SEGNET_RECORD)
void record(const void* address, int bytes, int step, bool store);
#define SEGNET_NOTE(address, bytes, step, store) record(address, bytes, step, store)
#else
#define SEGNET_NOTE(address, bytes, step, store) static_cast<void>(step)
#endif

template <typename V>
SEGNET_HD V load(const V* from, int step) {
  SEGNET_NOTE(from, static_cast<int>(sizeof(V)), step, false);
  return *from;
}

template <typename V>
SEGNET_HD void store(V* to, const V& value, int step) {
  SEGNET_NOTE(to, static_cast<int>(sizeof(V)), step, true);
  *to = value;
}

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

SEGNET_HD float bits_to_float(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

SEGNET_HD float as_float(float value) { return value; }
SEGNET_HD float as_float(int8_t value) { return static_cast<float>(value); }
SEGNET_HD float as_float(BFloat16 value) { return bits_to_float(uint32_t{value.bits} << 16); }
SEGNET_HD float as_float(Half value) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(value.bits));
#else
  const uint32_t sign = uint32_t{value.bits} >> 15 << 31, body = value.bits & 0x7fffu;
  if (body >= 0x7c00u) return bits_to_float(sign | 0x7f800000u | (body & 0x3ffu) << 13);
  if (body >= 0x400u) return bits_to_float(sign | ((body << 13) + (112u << 23)));
  const float small = static_cast<float>(body) * bits_to_float(103u << 23);  // body * 2^-24
  return sign ? -small : small;
#endif
}

// PyTorch's rule: a later element wins when it is larger, or when it is NaN.
template <typename T>
SEGNET_HD bool wins(T value, T best) {
  const float v = as_float(value);
  return v > as_float(best) || v != v;
}

// kCount neighbouring elements in one access of at most 16 bytes where they are aligned.
template <typename T, int kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Run {
  T of[kCount];
};

}  // namespace segnet
