// Calls the callbacks of the TensorRT plugins with arguments that they refuse, and with empty
// tensors, for test_tensorrt_adapter.py. Prints a line for each call: its name, and whether it was
// accepted and should be. Compiled together with the plugins, with sanitizers where there are any.
#include <cstdio>
#include <limits>
#include <new>
#include <string>

#include "counting_launchers.h"
#include "tensorrt_callers.h"

extern "C" IPluginCreatorInterface* const* getCreators(int32_t& count);

namespace {

bool out_of_memory = false;

}  // namespace

// The plugins allocate with this operator only.
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return out_of_memory ? nullptr : ::operator new(bytes);
}

namespace {

constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();
constexpr int32_t kMany = std::numeric_limits<int32_t>::max();

void expect(const std::string& name, bool accepted, bool should_be) {
  const char* words[] = {"refused", "accepted"};
  std::printf("%s %s %s\n", name.c_str(), words[accepted], words[should_be]);
}

IPluginCreatorV3One* creator(bool unpool) {
  int32_t count = 0;
  return static_cast<IPluginCreatorV3One*>(getCreators(count)[unpool]);
}

std::unique_ptr<IPluginV3> plugin(bool unpool, bool sized = true) {
  static const int32_t height = 45, width = 61;
  const auto type = PluginFieldType::kINT32;
  std::vector<PluginField> fields;
  if (sized) fields = {{"height", &height, type, 1}, {"width", &width, type, 1}};
  return std::unique_ptr<IPluginV3>(create(creator(unpool), fields));
}

IPluginV3OneBuild* build(const std::unique_ptr<IPluginV3>& of) {
  return capability<IPluginV3OneBuild>(of.get(), PluginCapabilityType::kBUILD);
}
IPluginV3OneRuntime* runtime(const std::unique_ptr<IPluginV3>& of) {
  return capability<IPluginV3OneRuntime>(of.get(), PluginCapabilityType::kRUNTIME);
}

std::string named(bool unpool, const char* call, const std::string& what) {
  return std::string(unpool ? "unpool-" : "pool-") + call + "-" + what;
}

// Vectors have exactly the passed number of elements, so that AddressSanitizer sees others read.
template <typename T>
std::vector<T> exactly(int32_t count, const T& value = {}) {
  return std::vector<T>(count > 0 ? count : 0, value);
}

void create_with(const char* name, const PluginFieldCollection* fields, bool should_be) {
  for (const bool unpool : {false, true}) {
    std::unique_ptr<IPluginV3> made(
        creator(unpool)->createPlugin(nullptr, fields, TensorRTPhase::kBUILD));
    expect(named(unpool, "create", name), made != nullptr, should_be);
  }
}

void create_with(const char* name, std::vector<PluginField> fields, bool should_be) {
  const PluginFieldCollection passed{static_cast<int32_t>(fields.size()), fields.data()};
  create_with(name, &passed, should_be);
}

void drive_fields() {
  const int32_t one = 1, minus = -1, two = 2, most = 31;
  const int64_t wide = 61, wraps = (int64_t{1} << 32) + 45;
  const float real = 1;
  const auto i32 = PluginFieldType::kINT32, i64 = PluginFieldType::kINT64;
  alignas(8) const char bytes[12] = {};
  create_with("none", std::vector<PluginField>{}, true);
  create_with("some", {{"ceil_mode", &one, i32, 1}, {"width", &wide, i64, 1}}, true);
  create_with("unaligned", {{"ceil_mode", bytes + 1, i64, 1}}, true);
  create_with("null-collection", nullptr, false);
  const PluginFieldCollection absent{2, nullptr}, negative{-1, nullptr};
  create_with("null-fields", &absent, false);
  create_with("negative-count", &negative, false);
  create_with("null-name", {{nullptr, &one, i32, 1}}, false);
  create_with("empty-name", {{"", &one, i32, 1}}, false);
  create_with("unknown-name", {{"ceil_mode", &one, i32, 1}, {"stride", &two, i32, 1}}, false);
  create_with("twice", {{"level", &one, i32, 1}, {"level", &two, i32, 1}}, false);
  create_with("null-data", {{"level", nullptr, i32, 1}}, false);
  create_with("length-0", {{"level", &one, i32, 0}}, false);
  create_with("length-2", {{"level", &one, i32, 2}}, false);
  create_with("length-negative", {{"level", &one, i32, -1}}, false);
  create_with("float", {{"level", &real, PluginFieldType::kFLOAT32, 1}}, false);
  create_with("unknown-type", {{"level", &one, static_cast<PluginFieldType>(99), 1}}, false);
  create_with("negative-height", {{"height", &minus, i32, 1}}, false);
  create_with("height-of-33-bits", {{"height", &wraps, i64, 1}}, false);
  create_with("level-31", {{"level", &most, i32, 1}}, false);
  create_with("ceil-mode-2", {{"ceil_mode", &two, i32, 1}}, false);
  create_with("layout-2", {{"layout", &two, i32, 1}}, false);
}

void drive_memory() {
  const PluginFieldCollection none{0, nullptr};
  for (const bool unpool : {false, true}) {
    const auto made = plugin(unpool);
    out_of_memory = true;
    IPluginV3* created = creator(unpool)->createPlugin("", &none, TensorRTPhase::kRUNTIME);
    IPluginV3 *copy = made->clone(), *attached = runtime(made)->attachToContext(nullptr);
    out_of_memory = false;
    expect(named(unpool, "memory", "create"), created != nullptr, false);
    expect(named(unpool, "memory", "clone"), copy != nullptr, false);
    expect(named(unpool, "memory", "attach"), attached != nullptr, false);
    const auto other = static_cast<PluginCapabilityType>(7);
    expect(named(unpool, "capability", "unknown"), made->getCapabilityInterface(other), false);
  }
}

PluginTensorDesc tensor(std::vector<int64_t> sizes, DataType type = DataType::kFLOAT,
                        TensorFormat format = TensorFormat::kLINEAR) {
  PluginTensorDesc desc{};
  desc.type = type, desc.format = format;
  desc.dims.nbDims = static_cast<int32_t>(sizes.size());
  for (size_t i = 0; i < sizes.size() && i < Dims::MAX_DIMS; ++i) desc.dims.d[i] = sizes[i];
  return desc;
}

// Every number of inputs and outputs, with tensors that are right otherwise.
void drive_counts(bool unpool, int32_t in, int32_t out) {
  const bool right = unpool ? (in == 2 || in == 3) && out == 1 : in == 1 && out == 2;
  const std::string counts = std::to_string(in) + "-" + std::to_string(out);
  const auto made = plugin(unpool);
  Builder builder;
  const auto shapes = exactly(in, builder.sizes({2, 16, 45, 61}));
  auto results = exactly<DimsExprs>(out);
  expect(named(unpool, "shapes", counts),
         build(made)->getOutputShapes(shapes.data(), in, nullptr, 0, results.data(), out,
                                      builder) == 0,
         right);
  const auto types = exactly(in, DataType::kFLOAT);
  auto made_types = exactly<DataType>(out);
  expect(named(unpool, "types", counts),
         build(made)->getOutputDataTypes(made_types.data(), out, types.data(), in) == 0, right);
  const auto empty = tensor({0, 0, 0, 0});
  const auto ins = exactly(in, empty), outs = exactly(out, empty);
  expect(named(unpool, "shape-change", counts),
         runtime(made)->onShapeChange(ins.data(), in, outs.data(), out) == 0, right);
  const DynamicPluginTensorDesc dynamic{empty, empty.dims, empty.dims, empty.dims};
  const auto from = exactly(in, dynamic), to = exactly(out, dynamic);
  const auto all = exactly(in + out, dynamic);
  expect(named(unpool, "configure", counts),
         build(made)->configurePlugin(from.data(), in, to.data(), out) == 0, right);
  for (const int32_t position : {0, -1, in + out, kMany, -kMany - 1})
    expect(named(unpool, "formats", counts + "-" + std::to_string(position)),
           build(made)->supportsFormatCombination(position, all.data(), in, out),
           right && position == 0);
}

void drive_null(bool unpool) {
  const auto made = plugin(unpool);
  const int32_t in = unpool ? 2 : 1, out = unpool ? 1 : 2;
  Builder builder;
  DimsExprs shapes[2] = {};
  DataType types[2] = {};
  PluginTensorDesc descs[2] = {tensor({0, 0, 0, 0}), tensor({0, 0, 0, 0})};
  DynamicPluginTensorDesc dynamic[2] = {};
  const auto refuse = [&](const char* name, int32_t status) {
    expect(named(unpool, name, "null"), status == 0, false);
  };
  refuse("shapes", build(made)->getOutputShapes(nullptr, in, nullptr, 0, shapes, out, builder));
  refuse("shapes", build(made)->getOutputShapes(shapes, in, nullptr, 0, nullptr, out, builder));
  refuse("types", build(made)->getOutputDataTypes(nullptr, out, types, in));
  refuse("types", build(made)->getOutputDataTypes(types, out, nullptr, in));
  refuse("configure", build(made)->configurePlugin(nullptr, in, dynamic, out));
  refuse("configure", build(made)->configurePlugin(dynamic, in, nullptr, out));
  refuse("formats", !build(made)->supportsFormatCombination(0, nullptr, in, out));
  refuse("shape-change", runtime(made)->onShapeChange(nullptr, in, descs, out));
  refuse("shape-change", runtime(made)->onShapeChange(descs, in, nullptr, out));
  void* at[2] = {};
  refuse("enqueue", runtime(made)->enqueue(nullptr, descs, at, at, nullptr, nullptr));
  refuse("enqueue", runtime(made)->enqueue(descs, nullptr, at, at, nullptr, nullptr));
  refuse("enqueue", runtime(made)->enqueue(descs, descs, nullptr, at, nullptr, nullptr));
  refuse("enqueue", runtime(made)->enqueue(descs, descs, at, nullptr, nullptr, nullptr));
}

// Shape expressions of other ranks, without a value, and that the builder cannot make.
void drive_shapes(bool unpool, bool by_image) {
  const auto made = plugin(unpool, !by_image);
  const int32_t in = unpool ? (by_image ? 3 : 2) : 1, out = unpool ? 1 : 2;
  const auto shapes = [&](const std::string& name, int32_t wrong, const DimsExprs& dims, int left,
                          bool should_be) {
    Builder builder;
    std::vector<DimsExprs> inputs(in, builder.sizes({2, 16, 45, 61})), outputs(out);
    if (wrong >= 0) inputs[wrong] = dims;
    builder.arithmetic.left = left;
    const int32_t status =
        build(made)->getOutputShapes(inputs.data(), in, nullptr, 0, outputs.data(), out, builder);
    expect(named(unpool, by_image ? "image-shapes" : "shapes", name), status == 0, should_be);
  };
  shapes("right", -1, {}, -1, true);
  Builder builder;
  for (int32_t at = 0; at < in; ++at) {
    for (const int32_t rank : {-1, 0, 3, 5, 8, 9, kMany}) {
      DimsExprs dims = builder.sizes({2, 16, 45, 61});
      dims.nbDims = rank;
      shapes("rank-" + std::to_string(rank), at, dims, -1, false);
    }
    DimsExprs dims = builder.sizes({2, 16, 45, 61});
    dims.d[2] = nullptr;
    shapes("without-size", at, dims, -1, false);
  }
  const int made_count = unpool ? (by_image ? 4 : 2) : 6;  // constants and operations
  for (int left = 0; left < made_count; ++left)
    shapes("builder-" + std::to_string(left), -1, {}, left, false);
}

struct Sizes {
  const char* name;
  std::vector<int64_t> full, pooled, codes;
  bool configures, changes, runs;
};

// Ranks, sizes that do not fit each other, and sizes that are empty, negative or too large.
std::vector<Sizes> table() {
  std::vector<Sizes> rows = {
      {"ceil", {2, 17, 45, 61}, {2, 17, 23, 31}, {2, 2, 23, 31}, true, true, true},
      {"floor", {2, 17, 45, 61}, {2, 17, 22, 30}, {2, 2, 22, 30}, true, true, true},
      {"no-batch", {0, 17, 45, 61}, {0, 17, 23, 31}, {0, 2, 23, 31}, true, true, true},
      {"no-channels", {2, 0, 45, 61}, {2, 0, 23, 31}, {2, 0, 23, 31}, true, true, true},
      {"no-height", {2, 17, 0, 61}, {2, 17, 0, 31}, {2, 2, 0, 31}, true, true, true},
      {"no-width", {2, 17, 45, 0}, {2, 17, 23, 0}, {2, 2, 23, 0}, true, true, true},
      {"unknown", {-1, 17, -1, 61}, {-1, 17, -1, 31}, {-1, 2, -1, 31}, true, false, false},
      {"product", {65536, 16, 65536, 2}, {65536, 16, 32768, 1}, {65536, 1, 32768, 1}, true, true,
       false},
      {"mixed", {2, 17, 45, 61}, {2, 17, 23, 30}, {2, 2, 23, 30}, false, false, false},
      {"pooled-batch", {2, 17, 45, 61}, {1, 17, 23, 31}, {2, 2, 23, 31}, false, false, false},
      {"pooled-channels", {2, 17, 45, 61}, {2, 16, 23, 31}, {2, 2, 23, 31}, false, false, false},
      {"pooled-width", {2, 17, 45, 61}, {2, 17, 23, 32}, {2, 2, 23, 32}, false, false, false},
      {"code-batch", {2, 17, 45, 61}, {2, 17, 23, 31}, {1, 2, 23, 31}, false, false, false},
      {"code-words", {2, 17, 45, 61}, {2, 17, 23, 31}, {2, 1, 23, 31}, false, false, false},
      {"code-height", {2, 17, 45, 61}, {2, 17, 23, 31}, {2, 2, 22, 31}, false, false, false},
      {"code-width", {2, 17, 45, 61}, {2, 17, 23, 31}, {2, 2, 23, 0}, false, false, false}};
  for (const int64_t size : {int64_t{-2}, int64_t{1} << 31, kLargest, -kLargest - 1})
    for (size_t axis = 0; axis < 4; ++axis) {
      Sizes row{"out-of-range", {2, 16, 44, 60}, {2, 16, 22, 30}, {2, 1, 22, 30}, false, false,
                false};
      row.full[axis] = row.pooled[axis] = row.codes[axis] = size;
      rows.push_back(row);
    }
  for (const size_t rank : {0, 1, 3, 5, 8, 9})
    for (int which = 0; which < 3; ++which) {
      Sizes row{"rank", {1, 1, 2, 2}, {1, 1, 1, 1}, {1, 1, 1, 1}, false, false, false};
      (which == 0 ? row.full : which == 1 ? row.pooled : row.codes).resize(rank, 1);
      rows.push_back(row);
    }
  return rows;
}

void drive_sizes(bool unpool, const Sizes& row) {
  const auto made = plugin(unpool);
  const PluginTensorDesc full = tensor(row.full), pooled = tensor(row.pooled),
                         codes = tensor(row.codes, DataType::kINT32);
  const auto ins = unpool ? std::vector{pooled, codes} : std::vector{full};
  const auto outs = unpool ? std::vector{full} : std::vector{pooled, codes};
  const auto in = static_cast<int32_t>(ins.size()), out = static_cast<int32_t>(outs.size());
  std::vector<DynamicPluginTensorDesc> from, to;
  for (const auto& desc : ins) from.push_back({desc, desc.dims, desc.dims, desc.dims});
  for (const auto& desc : outs) to.push_back({desc, desc.dims, desc.dims, desc.dims});
  expect(named(unpool, "configure", row.name),
         build(made)->configurePlugin(from.data(), in, to.data(), out) == 0, row.configures);
  expect(named(unpool, "shape-change", row.name),
         runtime(made)->onShapeChange(ins.data(), in, outs.data(), out) == 0, row.changes);
  alignas(32) static char memory[32];
  void* const at[] = {memory, memory};
  const bool empty = std::string(row.name).rfind("no-", 0) == 0;
  launched = 0;
  const int32_t status =
      runtime(made)->enqueue(ins.data(), outs.data(), at, at, nullptr, nullptr);
  expect(named(unpool, "enqueue", row.name), status == 0, row.runs);
  expect(named(unpool, "launch", row.name), launched > 0, row.runs && !empty);
  void* const none[] = {nullptr, nullptr};
  expect(named(unpool, "enqueue-at-null", row.name),
         runtime(made)->enqueue(ins.data(), outs.data(), none, none, nullptr, nullptr) == 0,
         row.runs && empty);
}

// Every element type and format of the data and the codes, on empty and on full planes.
void drive_types(bool unpool, DataType type, TensorFormat format, int64_t width) {
  const auto made = plugin(unpool);
  alignas(32) static char memory[32];
  void* const at[] = {memory, memory};
  const auto plane = tensor({1, 16, 2, 2 * width}, type, format),
             pooled = tensor({1, 16, 1, width}, type, format);
  const auto code = tensor({1, 1, 1, width}, DataType::kINT32);
  const auto run = [&](const char* name, PluginTensorDesc small, PluginTensorDesc words,
                       bool should_be) {
    const auto ins = unpool ? std::vector{small, words} : std::vector{plane};
    const auto outs = unpool ? std::vector{plane} : std::vector{small, words};
    launched = 0;
    const int32_t status =
        runtime(made)->enqueue(ins.data(), outs.data(), at, at, nullptr, nullptr);
    expect(named(unpool, "enqueue", name), status == 0, should_be);
    expect(named(unpool, "launch", name), launched > 0, should_be && width > 0);
  };
  const bool known = type == DataType::kFLOAT || type == DataType::kHALF ||
                     type == DataType::kBF16 || type == DataType::kINT8;
  run("types", pooled, code, known && format != TensorFormat::kCHW32);
  const auto other = type == DataType::kHALF ? DataType::kFLOAT : DataType::kHALF;
  run("other-type", tensor({1, 16, 1, width}, other, format), code, false);
  run("other-format", tensor({1, 16, 1, width}, type, TensorFormat::kCHW4), code, false);
  run("code-type", pooled, tensor({1, 1, 1, width}, DataType::kINT64), false);
  run("code-format", pooled, tensor({1, 1, 1, width}, DataType::kINT32, TensorFormat::kHWC), false);
}

}  // namespace

int main() {
  drive_fields();
  drive_memory();
  for (const bool unpool : {false, true}) {
    for (int32_t in = -1; in < 5; ++in)
      for (int32_t out = -1; out < 4; ++out) drive_counts(unpool, in, out);
    drive_null(unpool);
    drive_shapes(unpool, false);
    if (unpool) drive_shapes(unpool, true);
    for (const Sizes& row : table()) drive_sizes(unpool, row);
    for (const auto type : {DataType::kFLOAT, DataType::kHALF, DataType::kBF16, DataType::kINT8,
                            DataType::kINT64, DataType::kBOOL, static_cast<DataType>(99)})
      for (const auto format : {TensorFormat::kLINEAR, TensorFormat::kHWC, TensorFormat::kHWC8,
                                TensorFormat::kCHW32})
        for (const int64_t width : {0, 1, 8}) drive_types(unpool, type, format, width);
  }
  return 0;
}
