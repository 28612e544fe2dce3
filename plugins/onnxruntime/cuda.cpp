// The CUDA device of the operators: the launchers of plugins/cuda on ONNX Runtime's stream. The
// operators are in operators.cpp, the CPU device in cpu.cpp; cuda_stub.cpp replaces this file in a
// build without CUDA.
#include "operators.h"
#include "segnet/cuda_kernels.h"

namespace segnet::ort {
namespace {

constexpr ElementType kElements[] = {kFloat, kFloat16, kInt8};

DataKind kind_of(ElementType element) {
  if (element == kFloat16) return DataKind::kFloat16;
  return element == kInt8 ? DataKind::kInt8 : DataKind::kFloat32;
}

template <typename Launch>
OrtStatus* launch(const Call& call, Launch kernel) {
  void* stream = nullptr;
  if (OrtStatus* failed = KernelContext_GetGPUComputeStream(call.api, call.context, &stream))
    return failed;
  const cudaError_t error =
      kernel(call.channels_last ? Layout::kChannelsLast : Layout::kLinear,
             static_cast<cudaStream_t>(stream));
  return error == cudaSuccess ? nullptr
                              : CreateStatus(call.api, kFail, cudaGetErrorString(error));
}

OrtStatus* pool(const Call& call, const void* x, void* y, int32_t* codes) {
  return launch(call, [&](Layout layout, cudaStream_t stream) {
    return max_pool(call.s, kind_of(call.element), layout, x, y, codes, stream);
  });
}

OrtStatus* unpool(const Call& call, const void* y, const int32_t* codes, void* x) {
  return launch(call, [&](Layout layout, cudaStream_t stream) {
    return max_unpool(call.s, kind_of(call.element), layout, y, codes, x, stream);
  });
}

}  // namespace

const Device* cuda() {
  static const Device device{"CUDAExecutionProvider", kElements, 3, pool, unpool};
  return &device;
}

}  // namespace segnet::ort
