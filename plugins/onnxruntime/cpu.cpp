// The CPU device of the operators: plugins/cpu/two_bit_codes.cpp on ONNX Runtime's own threads. The
// operators are in operators.cpp, the CUDA device in cuda.cpp.
#include <algorithm>
#include <atomic>

#include "operators.h"
#include "segnet/cpu_two_bit_codes.h"

namespace segnet::ort {
namespace {

constexpr int64_t kMaximumParts = 64;  // more parts than threads balance the load
constexpr ElementType kElements[] = {kFloat, kUInt8, kInt8};

struct Work {
  CpuPair pair;
  bool unpool;
  const void* from;
  void* to;
  int32_t* codes;
  int64_t rows, parts;
  std::atomic<bool> failed{false};
};

void run_part(void* data, size_t part) {
  Work& w = *static_cast<Work*>(data);
  const int64_t number = static_cast<int64_t>(part);
  const int64_t first = w.rows * number / w.parts, last = w.rows * (number + 1) / w.parts;
  const bool done = w.unpool ? unpool_part(w.pair, w.from, w.codes, w.to, first, last)
                             : pool_part(w.pair, w.from, w.to, w.codes, first, last);
  if (!done) w.failed.store(true, std::memory_order_relaxed);
}

OrtStatus* run(const Call& call, bool unpool, const void* from, void* to, int32_t* codes) {
  const CpuElement element = call.element == kFloat  ? CpuElement::kFloat32
                             : call.element == kInt8 ? CpuElement::kInt8
                                                     : CpuElement::kUInt8;
  const CpuPair pair{call.s, element, call.channels_last};
  const int64_t rows = unpool ? pair.unpool_rows() : pair.pool_rows();
  if (rows == 0) return nullptr;
  Work work{pair, unpool, from, to, codes, rows, std::min(rows, kMaximumParts)};
  if (OrtStatus* failed = KernelContext_ParallelFor(call.api, call.context, run_part,
                                                    static_cast<size_t>(work.parts), 0, &work))
    return failed;
  return work.failed ? CreateStatus(call.api, kFail, "segnet: out of memory") : nullptr;
}

OrtStatus* pool(const Call& call, const void* x, void* y, int32_t* codes) {
  return run(call, false, x, y, codes);
}

OrtStatus* unpool(const Call& call, const void* y, const int32_t* codes, void* x) {
  return run(call, true, y, x, const_cast<int32_t*>(codes));
}

}  // namespace

const Device& cpu() {
  static const Device device{"CPUExecutionProvider", kElements, 3, pool, unpool};
  return device;
}

}  // namespace segnet::ort
