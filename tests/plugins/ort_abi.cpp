// Compares every index and offset in plugins/onnxruntime/ort_abi.h with ONNX Runtime's public
// headers; compiling it is the test. Both use the same struct names, so ours are renamed.
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

#define SAME_INDEX(name)                                                             \
  static_assert(decltype(segnet::ort::name)::index * sizeof(void (*)()) ==           \
                    offsetof(OrtApi, name), #name)
SAME_INDEX(CreateStatus);
SAME_INDEX(GetErrorMessage);
SAME_INDEX(CreateCustomOpDomain);
SAME_INDEX(CustomOpDomain_Add);
SAME_INDEX(AddCustomOpDomain);
SAME_INDEX(GetTensorMutableData);
SAME_INDEX(GetDimensionsCount);
SAME_INDEX(GetDimensions);
SAME_INDEX(GetTensorTypeAndShape);
SAME_INDEX(KernelInfoGetAttribute_int64);
SAME_INDEX(KernelContext_GetInputCount);
SAME_INDEX(KernelContext_GetOutputCount);
SAME_INDEX(KernelContext_GetInput);
SAME_INDEX(KernelContext_GetOutput);
SAME_INDEX(ReleaseStatus);
SAME_INDEX(ReleaseTensorTypeAndShapeInfo);
SAME_INDEX(KernelContext_GetGPUComputeStream);
SAME_INDEX(KernelContext_ParallelFor);

#define SAME_OFFSET(name) \
  static_assert(offsetof(OurCustomOp, name) == offsetof(OrtCustomOp, name), #name)
SAME_OFFSET(version);
SAME_OFFSET(CreateKernel);
SAME_OFFSET(GetName);
SAME_OFFSET(GetExecutionProviderType);
SAME_OFFSET(GetInputType);
SAME_OFFSET(GetInputTypeCount);
SAME_OFFSET(GetOutputType);
SAME_OFFSET(GetOutputTypeCount);
SAME_OFFSET(KernelCompute);
SAME_OFFSET(KernelDestroy);
SAME_OFFSET(GetInputCharacteristic);
SAME_OFFSET(GetOutputCharacteristic);
SAME_OFFSET(GetInputMemoryType);
SAME_OFFSET(GetVariadicInputMinArity);
SAME_OFFSET(GetVariadicInputHomogeneity);
SAME_OFFSET(GetVariadicOutputMinArity);
SAME_OFFSET(GetVariadicOutputHomogeneity);
SAME_OFFSET(CreateKernelV2);
SAME_OFFSET(KernelComputeV2);
SAME_OFFSET(InferOutputShapeFn);
SAME_OFFSET(GetStartVersion);
SAME_OFFSET(GetEndVersion);
SAME_OFFSET(GetMayInplace);
SAME_OFFSET(ReleaseMayInplace);
SAME_OFFSET(GetAliasMap);
SAME_OFFSET(ReleaseAliasMap);

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
