// Element types as plain storage, and their order, which is all that pooling needs. How elements
// are read and written is in memory_access.h.
#pragma once

#include <cstring>

#include "segnet/window_code.h"
#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace segnet {

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

// PyTorch's rule: a later element replaces the maximum if it is larger or NaN. Both are computed,
// since the compiler makes a branch of ||.
template <typename T>
SEGNET_HD bool wins(T value, T best) {
  const float v = as_float(value);
  return (v > as_float(best)) | (v != v);
}

}  // namespace segnet
