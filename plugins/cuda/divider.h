// Division of 32-bit numbers by a number that is known when a kernel is launched, without a divide
// instruction: a multiplication and a shift, exact for every dividend.
#pragma once

#include "segnet/window_code.h"

namespace segnet {

struct Divider {
  uint32_t divisor, multiplier, shift;

  explicit Divider(int64_t by) : divisor(static_cast<uint32_t>(by)), multiplier(0), shift(0) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    // ceil(2^(32 + shift) / divisor) - 2^32, in which the rounding is below 2^shift
    multiplier = static_cast<uint32_t>(
        (uint64_t{1} << 32) * ((uint64_t{1} << shift) - divisor) / divisor + 1);
  }
  SEGNET_HD uint32_t quotient(uint32_t n) const {
    const uint64_t high = uint64_t{n} * multiplier >> 32;
    return static_cast<uint32_t>((high + n) >> shift);
  }
  // Returns the remainder, and sets `n` to the quotient.
  SEGNET_HD uint32_t take(uint32_t* n) const {
    const uint32_t all = *n;
    *n = quotient(all);
    return all - *n * divisor;
  }
};

}  // namespace segnet
