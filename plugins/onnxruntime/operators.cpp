// SegNetMaxPool and SegNetMaxUnpool (segnet_deploy/passes/contract.json) as custom operators of
// ONNX Runtime. The devices that run them are in cpu.cpp and cuda.cpp.
#include "operators.h"

#include <deque>
#include <mutex>
#include <new>

#include "segnet/export.h"

namespace segnet::ort {
namespace {

constexpr size_t kDimensions = 4;

// One operator of one device for one element type. ONNX Runtime uses the base class.
struct Operator : OrtCustomOp {
  Operator(const Device& device, ElementType element, bool unpool);
  const Device& device;
  ElementType element;
  bool unpool;
};

// A node of the graph: its operator and its attributes.
struct Kernel {
  const Operator& op;
  const OrtApi* api;
  int64_t ceil_mode = 0, channels_last = 0, height = 0, width = 0, level = 0;
};

const Operator& self(const OrtCustomOp* op) { return *static_cast<const Operator*>(op); }

int64_t attribute(const OrtApi* api, const OrtKernelInfo* info, const char* name) {
  int64_t value = 0;
  if (OrtStatus* absent = KernelInfoGetAttribute_int64(api, info, name, &value))
    ReleaseStatus(api, absent);
  return value;
}

OrtStatus* shape_of(const OrtApi* api, const OrtValue* value, int64_t (&sizes)[kDimensions]) {
  Info* info = nullptr;
  if (OrtStatus* failed = GetTensorTypeAndShape(api, value, &info)) return failed;
  size_t count = 0;
  OrtStatus* failed = GetDimensionsCount(api, info, &count);
  if (failed == nullptr && count != kDimensions)
    failed = CreateStatus(api, kInvalidArgument, "segnet: expected 4 dimensions");
  if (failed == nullptr) failed = GetDimensions(api, info, sizes, kDimensions);
  ReleaseTensorTypeAndShapeInfo(api, info);
  return failed;
}

OrtStatus* input(const Kernel& kernel, OrtKernelContext* context, size_t index, void** data,
                 int64_t (&sizes)[kDimensions]) {
  const OrtValue* value = nullptr;
  if (OrtStatus* failed = KernelContext_GetInput(kernel.api, context, index, &value))
    return failed;
  if (OrtStatus* failed = shape_of(kernel.api, value, sizes)) return failed;
  return data == nullptr
             ? nullptr
             : GetTensorMutableData(kernel.api, const_cast<OrtValue*>(value), data);
}

OrtStatus* output(const Kernel& kernel, OrtKernelContext* context, size_t index,
                  const int64_t (&sizes)[kDimensions], void** data) {
  OrtValue* value = nullptr;
  if (OrtStatus* failed =
          KernelContext_GetOutput(kernel.api, context, index, sizes, kDimensions, &value))
    return failed;
  return GetTensorMutableData(kernel.api, value, data);
}

PoolShape shape(const Kernel& kernel, const int64_t (&sizes)[kDimensions]) {
  const bool last = kernel.channels_last != 0;
  return {sizes[0], sizes[last ? 3 : 1], sizes[last ? 1 : 2], sizes[last ? 2 : 3],
          kernel.ceil_mode != 0};
}

Call call_of(const Kernel& kernel, OrtKernelContext* context, const PoolShape& s) {
  return {s, kernel.op.element, kernel.channels_last != 0, kernel.api, context};
}

OrtStatus* run_pool(const Kernel& kernel, OrtKernelContext* context) {
  int64_t sizes[kDimensions];
  void *x = nullptr, *y = nullptr, *codes = nullptr;
  if (OrtStatus* failed = input(kernel, context, 0, &x, sizes)) return failed;
  const PoolShape s = shape(kernel, sizes);
  sizes[kernel.channels_last ? 1 : 2] = s.pooled_h();
  sizes[kernel.channels_last ? 2 : 3] = s.pooled_w();
  if (OrtStatus* failed = output(kernel, context, 0, sizes, &y)) return failed;
  const int64_t words[kDimensions] = {s.n, s.words(), s.pooled_h(), s.pooled_w()};
  if (OrtStatus* failed = output(kernel, context, 1, words, &codes)) return failed;
  return kernel.op.device.pool(call_of(kernel, context, s), x, y, static_cast<int32_t*>(codes));
}

// Sets the size of the unpooled plane: the attributes, or the image's size halved `level` times.
OrtStatus* full_size(const Kernel& kernel, OrtKernelContext* context, PoolShape* s) {
  s->h = kernel.height, s->w = kernel.width;
  size_t inputs = 0;
  if (OrtStatus* failed = KernelContext_GetInputCount(kernel.api, context, &inputs))
    return failed;
  if (s->h > 0 && s->w > 0) return nullptr;
  if (inputs < 3)
    return CreateStatus(kernel.api, kInvalidArgument,
                        "SegNetMaxUnpool: expected height and width, or the image");
  int64_t image[kDimensions];
  if (OrtStatus* failed = input(kernel, context, 2, nullptr, image)) return failed;
  const int64_t scale = int64_t{1} << kernel.level, up = kernel.ceil_mode ? scale - 1 : 0;
  s->h = (image[2] + up) / scale, s->w = (image[3] + up) / scale;
  return nullptr;
}

OrtStatus* run_unpool(const Kernel& kernel, OrtKernelContext* context) {
  int64_t sizes[kDimensions], words[kDimensions];
  void *y = nullptr, *codes = nullptr, *x = nullptr;
  if (OrtStatus* failed = input(kernel, context, 0, &y, sizes)) return failed;
  if (OrtStatus* failed = input(kernel, context, 1, &codes, words)) return failed;
  const PoolShape pooled = shape(kernel, sizes);
  PoolShape s = pooled;
  if (OrtStatus* failed = full_size(kernel, context, &s)) return failed;
  const bool fits = s.pooled_h() == pooled.h && s.pooled_w() == pooled.w && words[0] == s.n &&
                    words[1] == s.words() && words[2] == pooled.h && words[3] == pooled.w;
  if (!fits)
    return CreateStatus(kernel.api, kInvalidArgument,
                        "SegNetMaxUnpool: input sizes differ from the pool's output sizes");
  sizes[kernel.channels_last ? 1 : 2] = s.h;
  sizes[kernel.channels_last ? 2 : 3] = s.w;
  if (OrtStatus* failed = output(kernel, context, 0, sizes, &x)) return failed;
  return kernel.op.device.unpool(call_of(kernel, context, s), y, static_cast<int32_t*>(codes), x);
}

OrtStatus* create(const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* info,
                  void** kernel) {
  const auto get = [&](const char* name) { return attribute(api, info, name); };
  auto* made = new (std::nothrow) Kernel{self(op), api, get("ceil_mode"), get("channels_last"),
                                         get("height"), get("width"), get("level")};
  *kernel = made;
  return made == nullptr ? CreateStatus(api, kFail, "segnet: out of memory") : nullptr;
}

OrtStatus* compute(void* data, OrtKernelContext* context) {
  const Kernel& kernel = *static_cast<Kernel*>(data);
  return kernel.op.unpool ? run_unpool(kernel, context) : run_pool(kernel, context);
}

Operator::Operator(const Device& device, ElementType element, bool unpool)
    : OrtCustomOp{}, device(device), element(element), unpool(unpool) {
  using Op = const OrtCustomOp*;
  version = kVersion;
  GetName = [](Op op) { return self(op).unpool ? "SegNetMaxUnpool" : "SegNetMaxPool"; };
  GetExecutionProviderType = [](Op op) { return self(op).device.provider; };
  GetInputTypeCount = [](Op op) -> size_t { return self(op).unpool ? 3 : 1; };
  GetOutputTypeCount = [](Op op) -> size_t { return self(op).unpool ? 1 : 2; };
  GetInputType = [](Op op, size_t index) -> int {
    const int types[] = {self(op).element, kInt32, kAny};
    return types[index];
  };
  GetOutputType = [](Op op, size_t index) -> int {
    return index == 0 ? self(op).element : kInt32;
  };
  GetInputCharacteristic = [](Op, size_t index) -> int {
    return index == 2 ? kOptional : kRequired;
  };
  GetOutputCharacteristic = [](Op, size_t) -> int { return kRequired; };
  GetInputMemoryType = [](Op, size_t) { return 0; };
  GetVariadicInputMinArity = [](Op) { return 1; };
  GetVariadicInputHomogeneity = [](Op) { return 0; };
  GetVariadicOutputMinArity = [](Op) { return 1; };
  GetVariadicOutputHomogeneity = [](Op) { return 0; };
  CreateKernelV2 = create;
  KernelComputeV2 = compute;
  KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  GetStartVersion = [](Op) { return 1; };
  GetEndVersion = [](Op) { return INT32_MAX; };
}

// Created once and never freed: sessions keep pointers to the operators.
struct Domain {
  OrtCustomOpDomain* domain = nullptr;
  std::deque<Operator> operators;

  OrtStatus* make(const OrtApi* api) {
    if (OrtStatus* failed = CreateCustomOpDomain(api, "segnet", &domain)) return failed;
    const Device* devices[] = {&cpu(), cuda()};
    for (const Device* device : devices)
      for (size_t i = 0; device != nullptr && i < device->element_count; ++i)
        for (const bool unpool : {false, true}) {
          operators.emplace_back(*device, device->elements[i], unpool);
          if (OrtStatus* failed = CustomOpDomain_Add(api, domain, &operators.back()))
            return failed;
        }
    return nullptr;
  }
};

}  // namespace
}  // namespace segnet::ort

// The entry point that ONNX Runtime looks up by name.
SEGNET_EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  using namespace segnet::ort;
  static std::mutex mutex;
  static auto* made = new Domain;
  const OrtApi* api = base->GetApi(kVersion);
  if (api == nullptr) return nullptr;  // older than 1.18: not even a status can be created
  const std::lock_guard<std::mutex> lock(mutex);
  if (made->domain == nullptr)
    if (OrtStatus* failed = made->make(api)) return failed;
  return AddCustomOpDomain(api, options, made->domain);
}
