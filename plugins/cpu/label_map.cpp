// The label map on the CPU: the first maximum over the classes. Declared with the other C
// functions of libsegnet_cpu in include/segnet/cpu_byte_codes.h.
#include <algorithm>

#include "instruction_sets.h"
#include "segnet/cpu_byte_codes.h"

namespace {

constexpr int64_t kBlock = 1024;  // pixels whose maxima stay in the L1 cache

SEGNET_CLONES void first_maximum(const float* logits, uint8_t* labels, int64_t classes,
                                 int64_t size, int64_t step) {
  for (int64_t start = 0; start < size; start += kBlock) {
    const int64_t count = std::min(kBlock, size - start);
    float best[kBlock];
    std::copy(logits + start, logits + start + count, best);
    std::fill(labels + start, labels + start + count, uint8_t{0});
    for (int64_t k = 1; k < classes; ++k) {
      const float* plane = logits + k * step + start;
      for (int64_t i = 0; i < count; ++i) {
        const bool wins = plane[i] > best[i];
        best[i] = wins ? plane[i] : best[i];
        labels[start + i] = wins ? static_cast<uint8_t>(k) : labels[start + i];
      }
    }
  }
}

}  // namespace

SEGNET_EXPORT int segnet_cpu_labels(const float* logits, uint8_t* labels, int64_t classes,
                                    int64_t size, int64_t step) {
  constexpr int64_t kClasses = 256, kFloat = sizeof(float);
  int64_t bytes;
  if (classes < 1 || classes > kClasses || size < 0) return 1;
  if (size == 0) return 0;
  if (logits == nullptr || labels == nullptr || size > INT64_MAX / kFloat) return 1;
  if (__builtin_mul_overflow(step, classes * kFloat, &bytes)) return 1;
  first_maximum(logits, labels, classes, size, step);
  return 0;
}
