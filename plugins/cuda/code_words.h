// Parts of a code word. A thread computes 4, 8 or 16 channels of a word, which are 1, 2 or 4 bytes
// of it, and reads and writes them alone. GPUs are little-endian, as are the hosts of the tests.
#pragma once

#include "memory_access.h"

namespace segnet {

constexpr int kQuad = 4;  // channels of one byte

// Part `part`, of kBytes, of the code word at `word`.
template <int kBytes>
SEGNET_HD uint32_t load_codes(const int32_t* word, uint32_t part) {
  using Part = typename Word<kBytes>::Type;
  return load(reinterpret_cast<const Part*>(word) + part);
}

template <int kBytes>
SEGNET_HD void store_codes(int32_t* word, uint32_t part, uint32_t bits) {
  using Part = typename Word<kBytes>::Type;
  store(reinterpret_cast<Part*>(word) + part, static_cast<Part>(bits));
}

}  // namespace segnet
