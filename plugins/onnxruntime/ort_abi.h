// The part of ONNX Runtime's C interface that operators.cpp uses, as of version 18 (ONNX Runtime
// 1.18). The interface only grows: a function keeps its index in OrtApi, and OrtCustomOp::version
// is the version whose fields are set. So the library is built without ONNX Runtime's headers,
// which its wheels do not contain. tests/plugins/ort_abi.cpp compares every index and offset with
// the public headers if they are available.
#pragma once

#include <cstddef>
#include <cstdint>

struct OrtStatus;
struct OrtValue;
struct OrtSessionOptions;
struct OrtCustomOpDomain;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtTensorTypeAndShapeInfo;
struct OrtShapeInferContext;
struct OrtCustomOp;

struct OrtApi {
  void (*functions[275])();
};

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

namespace segnet::ort {

constexpr uint32_t kVersion = 18;

enum ElementType : int { kAny = 0, kFloat = 1, kUInt8 = 2, kInt8 = 3, kInt32 = 6, kFloat16 = 10 };
enum Presence : int { kRequired = 0, kOptional = 1 };
enum ErrorCode : int { kFail = 1, kInvalidArgument = 2 };

// A function of OrtApi: its index and its type.
template <size_t kIndex, typename Result, typename... Arguments>
struct Function {
  static constexpr size_t index = kIndex;
  Result operator()(const OrtApi* api, Arguments... arguments) const {
    using Pointer = Result (*)(Arguments...);
    return reinterpret_cast<Pointer>(api->functions[kIndex])(arguments...);
  }
};

using Info = OrtTensorTypeAndShapeInfo;
constexpr Function<0, OrtStatus*, int, const char*> CreateStatus;
constexpr Function<2, const char*, const OrtStatus*> GetErrorMessage;
constexpr Function<26, OrtStatus*, const char*, OrtCustomOpDomain**> CreateCustomOpDomain;
constexpr Function<27, OrtStatus*, OrtCustomOpDomain*, const OrtCustomOp*> CustomOpDomain_Add;
constexpr Function<28, OrtStatus*, OrtSessionOptions*, OrtCustomOpDomain*> AddCustomOpDomain;
constexpr Function<51, OrtStatus*, OrtValue*, void**> GetTensorMutableData;
constexpr Function<61, OrtStatus*, const Info*, size_t*> GetDimensionsCount;
constexpr Function<62, OrtStatus*, const Info*, int64_t*, size_t> GetDimensions;
constexpr Function<65, OrtStatus*, const OrtValue*, Info**> GetTensorTypeAndShape;
constexpr Function<86, OrtStatus*, const OrtKernelInfo*, const char*, int64_t*>
    KernelInfoGetAttribute_int64;
constexpr Function<88, OrtStatus*, const OrtKernelContext*, size_t*> KernelContext_GetInputCount;
constexpr Function<89, OrtStatus*, const OrtKernelContext*, size_t*> KernelContext_GetOutputCount;
constexpr Function<90, OrtStatus*, const OrtKernelContext*, size_t, const OrtValue**>
    KernelContext_GetInput;
constexpr Function<91, OrtStatus*, OrtKernelContext*, size_t, const int64_t*, size_t, OrtValue**>
    KernelContext_GetOutput;
constexpr Function<93, void, OrtStatus*> ReleaseStatus;
constexpr Function<99, void, Info*> ReleaseTensorTypeAndShapeInfo;
constexpr Function<193, OrtStatus*, const OrtKernelContext*, void**>
    KernelContext_GetGPUComputeStream;
constexpr Function<274, OrtStatus*, const OrtKernelContext*, void (*)(void*, size_t), size_t,
                   size_t, void*>
    KernelContext_ParallelFor;

}  // namespace segnet::ort

// An operator. ONNX Runtime 1.18 and newer read these fields.
struct OrtCustomOp {
  uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);
  int (*GetInputType)(const OrtCustomOp*, size_t);
  size_t (*GetInputTypeCount)(const OrtCustomOp*);
  int (*GetOutputType)(const OrtCustomOp*, size_t);
  size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void*, OrtKernelContext*);
  void (*KernelDestroy)(void*);
  int (*GetInputCharacteristic)(const OrtCustomOp*, size_t);
  int (*GetOutputCharacteristic)(const OrtCustomOp*, size_t);
  int (*GetInputMemoryType)(const OrtCustomOp*, size_t);
  int (*GetVariadicInputMinArity)(const OrtCustomOp*);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatus* (*CreateKernelV2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void**);
  OrtStatus* (*KernelComputeV2)(void*, OrtKernelContext*);
  OrtStatus* (*InferOutputShapeFn)(const OrtCustomOp*, OrtShapeInferContext*);
  int (*GetStartVersion)(const OrtCustomOp*);
  int (*GetEndVersion)(const OrtCustomOp*);
  size_t (*GetMayInplace)(int**, int**);
  void (*ReleaseMayInplace)(int*, int*);
  size_t (*GetAliasMap)(int**, int**);
  void (*ReleaseAliasMap)(int*, int*);
};
