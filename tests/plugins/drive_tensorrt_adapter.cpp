// Calls every callback of the TensorRT plugins as a builder does, and prints the results for
// test_tensorrt_adapter.py. Wrong arguments are in drive_tensorrt_errors.cpp.
//
//   drive_tensorrt_adapter libsegnet_tensorrt.so
#include <dlfcn.h>

#include <cstdio>

#include "tensorrt_callers.h"

using namespace nvinfer1;

namespace {

void print_sizes(const char* name, const DimsExprs& dims) {
  std::printf("%s", name);
  for (int32_t i = 0; i < dims.nbDims; ++i)
    std::printf(" %lld", static_cast<long long>(dims.d[i]->getConstantValue()));
  std::printf("\n");
}

void print_shapes(const char* name, IPluginV3* plugin, std::vector<DimsExprs> inputs,
                  Builder& builder) {
  auto* build = capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
  std::vector<DimsExprs> outputs(build->getNbOutputs());
  const int32_t status =
      build->getOutputShapes(inputs.data(), static_cast<int32_t>(inputs.size()), nullptr, 0,
                             outputs.data(), static_cast<int32_t>(outputs.size()), builder);
  if (status != 0) std::printf("%s refused\n", name);
  for (const DimsExprs& output : outputs)
    if (status == 0) print_sizes(name, output);
}

// Prints type:format of the combinations that a plugin supports for its first input.
void print_formats(const char* name, IPluginV3* plugin) {
  auto* build = capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
  const DataType types[] = {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT8,
                            DataType::kINT32};
  const TensorFormat layouts[] = {TensorFormat::kLINEAR, TensorFormat::kHWC, TensorFormat::kHWC8,
                                  TensorFormat::kCHW32};
  std::printf("%s", name);
  for (DataType type : types)
    for (TensorFormat format : layouts) {
      DynamicPluginTensorDesc tensors[4] = {};
      tensors[0].desc.type = type, tensors[0].desc.format = format;
      if (build->supportsFormatCombination(0, tensors, 1, 2))
        std::printf(" %d:%d", static_cast<int>(type), static_cast<int>(format));
    }
  std::printf("\n");
}

void print_fields(const char* name, IPluginV3* plugin) {
  auto* run = capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
  const PluginFieldCollection* state = run->getFieldsToSerialize();
  std::printf("%s", name);
  for (int32_t i = 0; i < state->nbFields; ++i)
    std::printf(" %s=%d", state->fields[i].name,
                *static_cast<const int32_t*>(state->fields[i].data));
  std::printf("\n");
}

// Prints the creators of the library and their fields.
std::vector<IPluginCreatorV3One*> print_creators(void* library) {
  using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
  auto getCreators = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
  auto setLoggerFinder =
      reinterpret_cast<void (*)(ILoggerFinder*)>(dlsym(library, "setLoggerFinder"));
  setLoggerFinder(nullptr);
  int32_t count = 0;
  IPluginCreatorInterface* const* found = getCreators(count);
  std::vector<IPluginCreatorV3One*> creators;
  for (int32_t i = 0; i < count; ++i) {
    auto* creator = static_cast<IPluginCreatorV3One*>(found[i]);
    creators.push_back(creator);
    std::printf("creator %s %s %s", creator->getPluginName(), creator->getPluginVersion(),
                creator->getPluginNamespace());
    const PluginFieldCollection* names = creator->getFieldNames();
    for (int32_t k = 0; k < names->nbFields; ++k) std::printf(" %s", names->fields[k].name);
    std::printf("\n");
  }
  return creators;
}

// The build-time callbacks: shapes, formats, types.
void drive_build(IPluginCreatorV3One* pool, IPluginCreatorV3One* unpool, IPluginV3* sized) {
  Builder builder;
  const int32_t zero = 0, one = 1, two = 2;
  const auto i32 = PluginFieldType::kINT32;
  const DimsExprs plane = builder.sizes({2, 17, 45, 61});
  std::unique_ptr<IPluginV3> up(create(pool, {{"ceil_mode", &one, i32, 1}}));
  std::unique_ptr<IPluginV3> down(
      create(pool, {{"ceil_mode", &zero, i32, 1}, {"layout", &one, i32, 1}}));
  print_shapes("pool-ceil", up.get(), {plane}, builder);
  print_shapes("pool-floor", down.get(), {plane}, builder);
  print_shapes("pool-3d", up.get(), {builder.sizes({17, 45, 61})}, builder);
  const DimsExprs small = builder.sizes({2, 17, 23, 31}), code = builder.sizes({2, 2, 23, 31});
  std::unique_ptr<IPluginV3> leveled(
      create(unpool, {{"level", &two, i32, 1}, {"ceil_mode", &one, i32, 1}}));
  print_shapes("unpool-by-attributes", sized, {small, code}, builder);
  print_shapes("unpool-by-image", leveled.get(), {small, code, builder.sizes({2, 3, 179, 241})},
               builder);
  print_shapes("unpool-without-size", leveled.get(), {small, code}, builder);
  print_formats("pool-any-layout", up.get());
  print_formats("pool-channels-last", down.get());
  auto* build = capability<IPluginV3OneBuild>(up.get(), PluginCapabilityType::kBUILD);
  const DataType in = DataType::kHALF;
  DataType out[2];
  build->getOutputDataTypes(out, 2, &in, 1);
  std::printf("types %d %d\n", static_cast<int>(out[0]), static_cast<int>(out[1]));
  std::printf("workspace %zu\n", build->getWorkspaceSize(nullptr, 0, nullptr, 0));
}

// The run-time callbacks: fields through clone, attachToContext and deserialisation.
void drive_runtime(IPluginCreatorV3One* unpool, IPluginV3* sized) {
  print_fields("fields", sized);
  std::unique_ptr<IPluginV3> copy(sized->clone());
  print_fields("clone", copy.get());
  auto* run = capability<IPluginV3OneRuntime>(copy.get(), PluginCapabilityType::kRUNTIME);
  std::unique_ptr<IPluginV3> attached(run->attachToContext(nullptr));
  print_fields("attached", attached.get());
  std::unique_ptr<IPluginV3> again(
      unpool->createPlugin("layer", run->getFieldsToSerialize(), TensorRTPhase::kRUNTIME));
  print_fields("deserialised", again.get());
  const float wrong = 1;
  IPluginV3* refused = create(unpool, {{"level", &wrong, PluginFieldType::kFLOAT32, 1}});
  std::printf("float-field %s\n", refused == nullptr ? "refused" : "accepted");
}

}  // namespace

int main(int count, char** arguments) {
  void* library = count == 2 ? dlopen(arguments[1], RTLD_NOW) : nullptr;
  if (library == nullptr) return std::fprintf(stderr, "%s\n", dlerror()), 2;
  const std::vector<IPluginCreatorV3One*> creators = print_creators(library);
  const int32_t height = 45;
  const int64_t width = 61;  // an ONNX attribute has 64 bits
  std::unique_ptr<IPluginV3> sized(
      create(creators[1], {{"height", &height, PluginFieldType::kINT32, 1},
                           {"width", &width, PluginFieldType::kINT64, 1}}));
  drive_build(creators[0], creators[1], sized.get());
  drive_runtime(creators[1], sized.get());
  return 0;
}
