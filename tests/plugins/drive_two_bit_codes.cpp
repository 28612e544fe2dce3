// Runs plugins/cpu/two_bit_codes.cpp on a sequence of cases, for processors that are emulated:
// test_cpu_two_bit_codes.py. stdin, per case: CpuElement, channels last, n, c, h, w and ceil mode
// as int64, then x. stdout: y, codes, and y unpooled.
#include <cstdio>
#include <vector>

#include "segnet/cpu_two_bit_codes.h"

int main() {
  using namespace segnet;
  int64_t of[7];
  while (std::fread(of, sizeof of, 1, stdin) == 1) {
    const CpuPair pair{{of[2], of[3], of[4], of[5], of[6] != 0}, CpuElement(of[0]), of[1] != 0};
    const PoolShape& s = pair.s;
    const size_t element = pair.element == CpuElement::kFloat32 ? 4 : 1;
    const int64_t pooled = s.pooled_h() * s.pooled_w();
    std::vector<char> x(s.n * s.c * s.h * s.w * element), y(s.n * s.c * pooled * element);
    std::vector<char> back(x.size(), 0x55);
    std::vector<int32_t> codes(s.n * s.words() * pooled, -1);
    if (std::fread(x.data(), 1, x.size(), stdin) != x.size()) return 1;
    const int64_t rows = pair.pool_rows(), full_rows = pair.unpool_rows();
    pool_part(pair, x.data(), y.data(), codes.data(), 0, rows / 2);
    pool_part(pair, x.data(), y.data(), codes.data(), rows / 2, rows);
    unpool_part(pair, y.data(), codes.data(), back.data(), 0, full_rows / 2);
    unpool_part(pair, y.data(), codes.data(), back.data(), full_rows / 2, full_rows);
    std::fwrite(y.data(), 1, y.size(), stdout);
    std::fwrite(codes.data(), sizeof(int32_t), codes.size(), stdout);
    std::fwrite(back.data(), 1, back.size(), stdout);
  }
}
