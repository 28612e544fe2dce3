// Drives every callback of the plugin library as a builder does, and prints what they answer.
//
//   drive_tensorrt_adapter libsegnet_tensorrt.so
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

using namespace nvinfer1;

namespace {

struct Number final : apiv::VDimensionExpr {
  explicit Number(int64_t value) : value(value) {}
  bool isConstant() const override { return true; }
  int64_t getConstantValue() const override { return value; }
  bool isSizeTensor() const override { return false; }
  int64_t value;
};

struct Expression final : IDimensionExpr {
  explicit Expression(int64_t value) : number(value) { mImpl = &number; }
  Number number;
};

// Sizes are known here, so that an expression is its value.
struct Arithmetic final : apiv::VExprBuilder {
  IDimensionExpr const* constant(int64_t value) override {
    made.push_back(std::make_unique<Expression>(value));
    return made.back().get();
  }
  IDimensionExpr const* operation(DimensionOperation op, IDimensionExpr const& first,
                                  IDimensionExpr const& second) override {
    const int64_t a = first.getConstantValue(), b = second.getConstantValue();
    if (op == DimensionOperation::kCEIL_DIV) return constant((a + b - 1) / b);
    if (op == DimensionOperation::kFLOOR_DIV) return constant(a / b);
    return nullptr;
  }
  IDimensionExpr const* declareSizeTensor(int32_t, IDimensionExpr const&,
                                          IDimensionExpr const&) override {
    return nullptr;
  }
  std::vector<std::unique_ptr<Expression>> made;
};

struct Builder final : IExprBuilder {
  Builder() { mImpl = &arithmetic; }
  DimsExprs sizes(std::vector<int64_t> values) {
    DimsExprs dims{};
    dims.nbDims = static_cast<int32_t>(values.size());
    for (size_t i = 0; i < values.size(); ++i) dims.d[i] = constant(values[i]);
    return dims;
  }
  Arithmetic arithmetic;
};

void print(const char* what, const DimsExprs& dims) {
  std::printf("%s", what);
  for (int32_t i = 0; i < dims.nbDims; ++i)
    std::printf(" %lld", static_cast<long long>(dims.d[i]->getConstantValue()));
  std::printf("\n");
}

IPluginV3* create(IPluginCreatorV3One* creator, std::vector<PluginField> fields) {
  const PluginFieldCollection given{static_cast<int32_t>(fields.size()), fields.data()};
  return creator->createPlugin("layer", &given, TensorRTPhase::kBUILD);
}

template <typename T>
T* capability(IPluginV3* plugin, PluginCapabilityType type) {
  return static_cast<T*>(plugin->getCapabilityInterface(type));
}

void shapes(const char* what, IPluginV3* plugin, std::vector<DimsExprs> inputs, Builder& builder) {
  auto* build = capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
  std::vector<DimsExprs> outputs(build->getNbOutputs());
  const int32_t status =
      build->getOutputShapes(inputs.data(), static_cast<int32_t>(inputs.size()), nullptr, 0,
                             outputs.data(), static_cast<int32_t>(outputs.size()), builder);
  if (status != 0) std::printf("%s refused\n", what);
  for (const DimsExprs& output : outputs)
    if (status == 0) print(what, output);
}

// Which types and formats are taken at a position, where the ones before are `others`.
void formats(const char* what, IPluginV3* plugin) {
  auto* build = capability<IPluginV3OneBuild>(plugin, PluginCapabilityType::kBUILD);
  const DataType types[] = {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT8,
                            DataType::kINT32};
  const TensorFormat layouts[] = {TensorFormat::kLINEAR, TensorFormat::kHWC, TensorFormat::kHWC8,
                                  TensorFormat::kCHW32};
  std::printf("%s", what);
  for (DataType type : types)
    for (TensorFormat format : layouts) {
      DynamicPluginTensorDesc tensors[4] = {};
      tensors[0].desc.type = type, tensors[0].desc.format = format;
      if (build->supportsFormatCombination(0, tensors, 1, 2))
        std::printf(" %d:%d", static_cast<int>(type), static_cast<int>(format));
    }
  std::printf("\n");
}

void fields(const char* what, IPluginV3* plugin) {
  auto* run = capability<IPluginV3OneRuntime>(plugin, PluginCapabilityType::kRUNTIME);
  const PluginFieldCollection* kept = run->getFieldsToSerialize();
  std::printf("%s", what);
  for (int32_t i = 0; i < kept->nbFields; ++i)
    std::printf(" %s=%d", kept->fields[i].name, *static_cast<const int32_t*>(kept->fields[i].data));
  std::printf("\n");
}

}  // namespace

int main(int count, char** arguments) {
  void* library = count == 2 ? dlopen(arguments[1], RTLD_NOW) : nullptr;
  if (library == nullptr) return std::fprintf(stderr, "%s\n", dlerror()), 2;
  using GetCreators = IPluginCreatorInterface* const* (*)(int32_t&);
  auto getCreators = reinterpret_cast<GetCreators>(dlsym(library, "getCreators"));
  auto setLoggerFinder =
      reinterpret_cast<void (*)(ILoggerFinder*)>(dlsym(library, "setLoggerFinder"));
  setLoggerFinder(nullptr);
  int32_t creators = 0;
  IPluginCreatorInterface* const* found = getCreators(creators);
  std::vector<IPluginCreatorV3One*> makers;
  for (int32_t i = 0; i < creators; ++i) {
    auto* maker = static_cast<IPluginCreatorV3One*>(found[i]);
    makers.push_back(maker);
    std::printf("creator %s %s %s", maker->getPluginName(), maker->getPluginVersion(),
                maker->getPluginNamespace());
    const PluginFieldCollection* names = maker->getFieldNames();
    for (int32_t k = 0; k < names->nbFields; ++k) std::printf(" %s", names->fields[k].name);
    std::printf("\n");
  }
  Builder builder;
  const int32_t zero = 0, one = 1, two = 2, height = 45;
  const int64_t width = 61;  // an ONNX attribute has 64 bits
  const auto i32 = PluginFieldType::kINT32, i64 = PluginFieldType::kINT64;
  const DimsExprs plane = builder.sizes({2, 17, 45, 61});
  IPluginV3* up = create(makers[0], {{"ceil_mode", &one, i32, 1}});
  IPluginV3* down = create(makers[0], {{"ceil_mode", &zero, i32, 1}, {"layout", &one, i32, 1}});
  shapes("pool-ceil", up, {plane}, builder);
  shapes("pool-floor", down, {plane}, builder);
  shapes("pool-3d", up, {builder.sizes({17, 45, 61})}, builder);
  const DimsExprs small = builder.sizes({2, 17, 23, 31}), code = builder.sizes({2, 2, 23, 31});
  IPluginV3* sized = create(makers[1], {{"height", &height, i32, 1}, {"width", &width, i64, 1}});
  IPluginV3* leveled = create(makers[1], {{"level", &two, i32, 1}, {"ceil_mode", &one, i32, 1}});
  shapes("unpool-by-attributes", sized, {small, code}, builder);
  shapes("unpool-by-image", leveled, {small, code, builder.sizes({2, 3, 179, 241})}, builder);
  shapes("unpool-of-nothing", leveled, {small, code}, builder);
  formats("pool-any-layout", up);
  formats("pool-channels-last", down);
  fields("fields", sized);
  IPluginV3* copy = sized->clone();
  fields("clone", copy);
  auto* run = capability<IPluginV3OneRuntime>(copy, PluginCapabilityType::kRUNTIME);
  IPluginV3* attached = run->attachToContext(nullptr);
  fields("attached", attached);
  const PluginFieldCollection* kept = run->getFieldsToSerialize();
  IPluginV3* again = makers[1]->createPlugin("layer", kept, TensorRTPhase::kRUNTIME);
  fields("deserialised", again);
  const float wrong = 1;
  IPluginV3* refused = create(makers[1], {{"level", &wrong, PluginFieldType::kFLOAT32, 1}});
  std::printf("float-field %s\n", refused == nullptr ? "refused" : "taken");
  auto* build = capability<IPluginV3OneBuild>(up, PluginCapabilityType::kBUILD);
  const DataType in = DataType::kHALF;
  DataType out[2];
  build->getOutputDataTypes(out, 2, &in, 1);
  std::printf("types %d %d\n", static_cast<int>(out[0]), static_cast<int>(out[1]));
  std::printf("configure %d\n", build->configurePlugin(nullptr, 0, nullptr, 0));
  std::printf("workspace %zu\n", build->getWorkspaceSize(nullptr, 0, nullptr, 0));
  PluginTensorDesc tensors[2] = {};
  tensors[0].type = DataType::kINT64;  // a type that no kernel has: refused before the launch
  std::printf("shape-change %d\n", run->onShapeChange(tensors, 1, tensors, 2));
  std::printf("enqueue %d\n", run->enqueue(tensors, tensors, nullptr, nullptr, nullptr, nullptr));
  for (IPluginV3* plugin : {up, down, sized, leveled, copy, attached, again}) delete plugin;
  return 0;
}
