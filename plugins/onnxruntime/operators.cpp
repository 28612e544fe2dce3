// SegNetMaxPool and SegNetMaxUnpool (segnet_deploy/passes/contract.json) as custom operators of
// ONNX Runtime. The devices that run them are in cpu.cpp and cuda.cpp.
#include "operators.h"

#include <cstdio>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <new>

#include "segnet/export.h"

namespace segnet::ort {
namespace {

constexpr size_t kDimensions = 4;
constexpr int64_t kMaximumLevel = 30;  // a pyramid of 2^31 pixels; a larger shift is meaningless

constexpr int64_t kAbsent = INT64_MIN;  // of an attribute whose 0 is a value

const char* const kInputs[2][3] = {{"x"}, {"y", "code", "image"}};
const char* const kOutputs[2][2] = {{"y", "code"}, {"x"}};

// One operator of one device for one element type. ONNX Runtime uses the base class.
struct Operator : OrtCustomOp {
  Operator(const Device& device, ElementType element, bool unpool);
  const Device& device;
  ElementType element;
  bool unpool;

  const char* name() const { return unpool ? "SegNetMaxUnpool" : "SegNetMaxPool"; }
};

// A node of the graph: its operator and its attributes.
struct Kernel {
  const Operator& op;
  const OrtApi* api;
  int64_t ceil_mode = 0, channels_last = 0, height = kAbsent, width = kAbsent, level = 0;
};

const Operator& self(const OrtCustomOp* op) { return *static_cast<const Operator*>(op); }

// An error in one line that starts with the operator's name; ONNX Runtime adds the node's name.
template <typename... Values>
OrtStatus* invalid(const OrtApi* api, const Operator& op, const char* format, Values... values) {
  char text[160], line[200];
  std::snprintf(text, sizeof text, format, values...);
  std::snprintf(line, sizeof line, "%s: %s", op.name(), text);
  return CreateStatus(api, kInvalidArgument, line);
}

// Runs work(), from which no exception reaches ONNX Runtime: its callers are C functions.
template <typename Work>
OrtStatus* guarded(const OrtApi* api, Work work) noexcept {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return CreateStatus(api, kFail, "segnet: out of memory");
  } catch (const std::exception& error) {
    return CreateStatus(api, kFail, error.what());
  } catch (...) {
    return CreateStatus(api, kFail, "segnet: unknown exception");
  }
}

// Sets `value` if the node has this attribute. Only ONNX Runtime's message, which speaks of types,
// tells an attribute of another type from an absent one, which is legal.
OrtStatus* attribute(const OrtApi* api, const Operator& op, const OrtKernelInfo* info,
                     const char* name, int64_t* value) {
  int64_t found = 0;
  OrtStatus* status = KernelInfoGetAttribute_int64(api, info, name, &found);
  if (status == nullptr) {
    *value = found;
    return nullptr;
  }
  const bool other = std::strstr(GetErrorMessage(api, status), "type") != nullptr;
  ReleaseStatus(api, status);
  return other ? invalid(api, op, "attribute %s is not an int", name) : nullptr;
}

// Refuses sizes for which arithmetic on shapes could overflow.
OrtStatus* check_attributes(const Kernel& kernel) {
  const auto number = [](int64_t value) { return static_cast<long long>(value); };
  const Operator& op = kernel.op;
  if (kernel.level < 0 || kernel.level > kMaximumLevel)
    return invalid(kernel.api, op, "level is %lld; expected 0 to %lld", number(kernel.level),
                   number(kMaximumLevel));
  const auto is_size = [](int64_t value) {
    return value == kAbsent || (value >= 0 && value <= INT32_MAX);
  };
  if (!is_size(kernel.height))
    return invalid(kernel.api, op, "height is %lld; expected 0 to 2147483647",
                   number(kernel.height));
  if (!is_size(kernel.width))
    return invalid(kernel.api, op, "width is %lld; expected 0 to 2147483647",
                   number(kernel.width));
  return nullptr;
}

OrtStatus* shape_of(const Kernel& kernel, const OrtValue* value, const char* name,
                    int64_t (&sizes)[kDimensions]) {
  const OrtApi* api = kernel.api;
  Info* info = nullptr;
  if (OrtStatus* failed = GetTensorTypeAndShape(api, value, &info)) return failed;
  size_t count = 0;
  OrtStatus* failed = GetDimensionsCount(api, info, &count);
  if (failed == nullptr && count != kDimensions)
    failed = invalid(api, kernel.op, "%s has %zu dimensions; expected 4", name, count);
  if (failed == nullptr) failed = GetDimensions(api, info, sizes, kDimensions);
  ReleaseTensorTypeAndShapeInfo(api, info);
  for (size_t axis = 0; failed == nullptr && axis < kDimensions; ++axis)
    if (sizes[axis] < 0 || sizes[axis] > INT32_MAX)
      failed = invalid(api, kernel.op, "%s has a dimension of %lld", name,
                       static_cast<long long>(sizes[axis]));
  return failed;
}

// Sets `value` to null if the node has no such input: one that is left out, or named "".
OrtStatus* find_input(const Kernel& kernel, OrtKernelContext* context, size_t index,
                      const OrtValue** value) {
  size_t count = 0;
  *value = nullptr;
  if (OrtStatus* failed = KernelContext_GetInputCount(kernel.api, context, &count)) return failed;
  if (index >= count) return nullptr;
  return KernelContext_GetInput(kernel.api, context, index, value);
}

OrtStatus* input(const Kernel& kernel, OrtKernelContext* context, size_t index, void** data,
                 int64_t (&sizes)[kDimensions]) {
  const OrtValue* value = nullptr;
  const char* name = kInputs[kernel.op.unpool][index];
  if (OrtStatus* failed = find_input(kernel, context, index, &value)) return failed;
  if (value == nullptr) return invalid(kernel.api, kernel.op, "input %s is missing", name);
  if (OrtStatus* failed = shape_of(kernel, value, name, sizes)) return failed;
  return data == nullptr
             ? nullptr
             : GetTensorMutableData(kernel.api, const_cast<OrtValue*>(value), data);
}

OrtStatus* output(const Kernel& kernel, OrtKernelContext* context, size_t index,
                  const int64_t (&sizes)[kDimensions], void** data) {
  OrtValue* value = nullptr;
  size_t count = 0;
  if (OrtStatus* failed = KernelContext_GetOutputCount(kernel.api, context, &count))
    return failed;
  if (index < count)
    if (OrtStatus* failed =
            KernelContext_GetOutput(kernel.api, context, index, sizes, kDimensions, &value))
      return failed;
  if (value == nullptr)  // the node leaves it out, or names it ""
    return invalid(kernel.api, kernel.op, "output %s is missing",
                   kOutputs[kernel.op.unpool][index]);
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
  if (s.n == 0 || s.c == 0 || s.pooled_h() == 0 || s.pooled_w() == 0) return nullptr;
  return kernel.op.device.pool(call_of(kernel, context, s), x, y, static_cast<int32_t*>(codes));
}

// Sets the size of the unpooled plane: the attributes, or the image's size halved `level` times.
// Attributes of 0 are those of an empty plane only if there is no image.
OrtStatus* full_size(const Kernel& kernel, OrtKernelContext* context, PoolShape* s) {
  s->h = kernel.height, s->w = kernel.width;
  if (s->h > 0 && s->w > 0) return nullptr;
  const OrtValue* value = nullptr;
  if (OrtStatus* failed = find_input(kernel, context, 2, &value)) return failed;
  if (value == nullptr && s->h >= 0 && s->w >= 0) return nullptr;
  if (value == nullptr)
    return invalid(kernel.api, kernel.op,
                   "no size; expected the attributes height and width, or the input image");
  int64_t image[kDimensions];
  if (OrtStatus* failed = shape_of(kernel, value, "image", image)) return failed;
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
    return invalid(kernel.api, kernel.op, "input sizes differ from the pool's output sizes");
  sizes[kernel.channels_last ? 1 : 2] = s.h;
  sizes[kernel.channels_last ? 2 : 3] = s.w;
  if (OrtStatus* failed = output(kernel, context, 0, sizes, &x)) return failed;
  if (s.n == 0 || s.c == 0 || s.h == 0 || s.w == 0) return nullptr;
  return kernel.op.device.unpool(call_of(kernel, context, s), y, static_cast<int32_t*>(codes), x);
}

OrtStatus* make_kernel(const Operator& op, const OrtApi* api, const OrtKernelInfo* info,
                       void** kernel) {
  Kernel made{op, api};
  const struct {
    const char* name;
    int64_t* value;
  } attributes[] = {{"ceil_mode", &made.ceil_mode},
                    {"channels_last", &made.channels_last},
                    {"height", &made.height},
                    {"width", &made.width},
                    {"level", &made.level}};
  for (const auto& entry : attributes)
    if (OrtStatus* failed = attribute(api, op, info, entry.name, entry.value)) return failed;
  if (OrtStatus* failed = check_attributes(made)) return failed;
  *kernel = new Kernel(made);
  return nullptr;
}

OrtStatus* create(const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* info,
                  void** kernel) {
  *kernel = nullptr;
  return guarded(api, [&] { return make_kernel(self(op), api, info, kernel); });
}

OrtStatus* compute(void* data, OrtKernelContext* context) {
  const Kernel& kernel = *static_cast<Kernel*>(data);
  return guarded(kernel.api, [&] {
    return kernel.op.unpool ? run_unpool(kernel, context) : run_pool(kernel, context);
  });
}

Operator::Operator(const Device& device, ElementType element, bool unpool)
    : OrtCustomOp{}, device(device), element(element), unpool(unpool) {
  using Op = const OrtCustomOp*;
  version = kVersion;
  GetName = [](Op op) { return self(op).name(); };
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

  // Sets `domain` once it is complete, so that a later call tries again after a failure.
  OrtStatus* make(const OrtApi* api) {
    OrtCustomOpDomain* made = nullptr;
    if (OrtStatus* failed = CreateCustomOpDomain(api, "segnet", &made)) return failed;
    const Device* devices[] = {&cpu(), cuda()};
    for (const Device* device : devices)
      for (size_t i = 0; device != nullptr && i < device->element_count; ++i)
        for (const bool unpool : {false, true}) {
          operators.emplace_back(*device, device->elements[i], unpool);
          if (OrtStatus* failed = CustomOpDomain_Add(api, made, &operators.back())) return failed;
        }
    domain = made;
    return nullptr;
  }
};

OrtStatus* register_operators(OrtSessionOptions* options, const OrtApi* api) {
  static std::mutex mutex;
  static auto* made = new Domain;
  const std::lock_guard<std::mutex> lock(mutex);
  if (made->domain == nullptr)
    if (OrtStatus* failed = made->make(api)) return failed;
  return AddCustomOpDomain(api, options, made->domain);
}

}  // namespace
}  // namespace segnet::ort

// Whether the operators can run in ONNX Runtime's CUDA provider.
SEGNET_EXPORT int segnet_onnxruntime_has_cuda() { return segnet::ort::cuda() != nullptr; }

// The entry point that ONNX Runtime looks up by name.
SEGNET_EXPORT OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  using namespace segnet::ort;
  const OrtApi* api = base->GetApi(kVersion);
  if (api == nullptr) return nullptr;  // older than 1.18: not even a status can be created
  return guarded(api, [&] { return register_operators(options, api); });
}
