// Runs the C functions of segnet_cpu and segnet_reference on a sequence of cases, for processors
// that are emulated: test_aarch64.py. stdin, per case, int64: 0 reference, 1 byte codes or 2 label
// map; CpuElement, n, c, h, w and ceil mode; then x. stdout: y, codes and y unpooled; or labels.
// With byte codes, x has n planes (h, w, c) of c packed channels; else it is (n, c, h, w).
#include <cstdio>
#include <vector>

#include "segnet/cpu_byte_codes.h"

extern "C" int segnet_reference_pool(const float*, float*, int32_t*, int64_t, int64_t, int64_t,
                                     int64_t, int);
extern "C" int segnet_reference_unpool(const float*, const int32_t*, float*, int64_t, int64_t,
                                       int64_t, int64_t, int);

namespace {

constexpr int kThreads = 2;

template <typename T>
void write(const std::vector<T>& values) {
  std::fwrite(values.data(), sizeof(T), values.size(), stdout);
}

float* floats(std::vector<char>& bytes) { return reinterpret_cast<float*>(bytes.data()); }

}  // namespace

int main() {
  int64_t of[7];
  while (std::fread(of, sizeof of, 1, stdin) == 1) {
    const int64_t n = of[2], c = of[3], h = of[4], w = of[5];
    const int element = int(of[1]), ceil_mode = int(of[6]);
    const int64_t size = element == 0 ? sizeof(float) : 1;
    const int64_t ho = (h + ceil_mode) / 2, wo = (w + ceil_mode) / 2;
    std::vector<char> x(n * c * h * w * size), y(n * c * ho * wo * size), back(x.size(), 0x55);
    if (std::fread(x.data(), 1, x.size(), stdin) != x.size()) return 1;
    int failed = 0;
    if (of[0] == 2) {
      std::vector<uint8_t> labels(h * w);
      failed = segnet_cpu_labels(floats(x), labels.data(), c, h * w, h * w);
      write(labels);
    } else if (of[0] == 1) {
      const int64_t full = h * w * c, pooled = ho * wo * c;
      std::vector<uint8_t> codes(n * pooled, 0x55);
      failed = segnet_cpu_pool(element, x.data(), y.data(), codes.data(), n, h, w, c, full, pooled,
                               ceil_mode, kThreads) |
               segnet_cpu_unpool(element, y.data(), codes.data(), back.data(), n, h, w, c, full,
                                 pooled, ceil_mode, kThreads);
      write(y), write(codes), write(back);
    } else {
      std::vector<int32_t> codes(n * ((c + 15) / 16) * ho * wo, -1);
      failed = segnet_reference_pool(floats(x), floats(y), codes.data(), n, c, h, w, ceil_mode) |
               segnet_reference_unpool(floats(y), codes.data(), floats(back), n, c, h, w, ceil_mode);
      write(y), write(codes), write(back);
    }
    if (failed != 0) return 2;
  }
}
