// Every place of plugins/onnxruntime/ort_abi.h against ONNX Runtime's public headers; compiling
// is the test. Both give the structs the same names, so ours are renamed.
#include <cstddef>
#include <cstdint>

#include "onnxruntime_c_api.h"

#define OrtStatus OurStatus
#define OrtValue OurValue
#define OrtSessionOptions OurSessionOptions
#define OrtCustomOpDomain OurCustomOpDomain
#define OrtKernelInfo OurKernelInfo
#define OrtKernelContext OurKernelContext
#define OrtTensorTypeAndShapeInfo OurTensorTypeAndShapeInfo
#define OrtShapeInferContext OurShapeInferContext
#define OrtCustomOp OurCustomOp
#define OrtApi OurApi
#define OrtApiBase OurApiBase
#include "../../plugins/onnxruntime/ort_abi.h"
#undef OrtCustomOp
#undef OrtApi
#undef OrtApiBase

#define SAME_PLACE(name)                                                             \
  static_assert(decltype(segnet::ort::name)::place * sizeof(void (*)()) ==           \
                    offsetof(OrtApi, name), #name)
SAME_PLACE(CreateStatus);
SAME_PLACE(CreateCustomOpDomain);
SAME_PLACE(CustomOpDomain_Add);
SAME_PLACE(AddCustomOpDomain);
SAME_PLACE(GetTensorMutableData);
SAME_PLACE(GetDimensionsCount);
SAME_PLACE(GetDimensions);
SAME_PLACE(GetTensorTypeAndShape);
SAME_PLACE(KernelInfoGetAttribute_int64);
SAME_PLACE(KernelContext_GetInputCount);
SAME_PLACE(KernelContext_GetInput);
SAME_PLACE(KernelContext_GetOutput);
SAME_PLACE(ReleaseStatus);
SAME_PLACE(ReleaseTensorTypeAndShapeInfo);
SAME_PLACE(KernelContext_GetGPUComputeStream);
SAME_PLACE(KernelContext_ParallelFor);

#define SAME_FIELD(name) \
  static_assert(offsetof(OurCustomOp, name) == offsetof(OrtCustomOp, name), #name)
SAME_FIELD(version);
SAME_FIELD(CreateKernel);
SAME_FIELD(GetName);
SAME_FIELD(GetExecutionProviderType);
SAME_FIELD(GetInputType);
SAME_FIELD(GetInputTypeCount);
SAME_FIELD(GetOutputType);
SAME_FIELD(GetOutputTypeCount);
SAME_FIELD(KernelCompute);
SAME_FIELD(KernelDestroy);
SAME_FIELD(GetInputCharacteristic);
SAME_FIELD(GetOutputCharacteristic);
SAME_FIELD(GetInputMemoryType);
SAME_FIELD(GetVariadicInputMinArity);
SAME_FIELD(GetVariadicInputHomogeneity);
SAME_FIELD(GetVariadicOutputMinArity);
SAME_FIELD(GetVariadicOutputHomogeneity);
SAME_FIELD(CreateKernelV2);
SAME_FIELD(KernelComputeV2);
SAME_FIELD(InferOutputShapeFn);
SAME_FIELD(GetStartVersion);
SAME_FIELD(GetEndVersion);
SAME_FIELD(GetMayInplace);
SAME_FIELD(ReleaseMayInplace);
SAME_FIELD(GetAliasMap);
SAME_FIELD(ReleaseAliasMap);

using namespace segnet::ort;
static_assert(kFloat == static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT), "");
static_assert(kUInt8 == static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8), "");
static_assert(kInt8 == static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8), "");
static_assert(kInt32 == static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32), "");
static_assert(kFloat16 == static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16), "");
static_assert(kAny == static_cast<int>(ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED), "");
static_assert(kOptional == static_cast<int>(INPUT_OUTPUT_OPTIONAL), "");
static_assert(kRequired == static_cast<int>(INPUT_OUTPUT_REQUIRED), "");
static_assert(kFail == static_cast<int>(ORT_FAIL), "");
static_assert(kInvalidArgument == static_cast<int>(ORT_INVALID_ARGUMENT), "");
static_assert(sizeof(int) == sizeof(ONNXTensorElementDataType), "");
