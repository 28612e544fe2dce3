// The plugins' creators, and the two symbols that TensorRT looks up in a plugin library. The
// plugins are in plugin.cpp.
#include <cstring>
#include <new>
#include <type_traits>

#include "plugin.h"
#include "segnet/export.h"

namespace segnet::trt {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;

// Reads one integer of 32 bits (a deserialised plugin) or 64 bits (an ONNX attribute).
bool read(const PluginField& field, int64_t* value) {
  if (field.data == nullptr || field.length != 1) return false;
  if (field.type == nvinfer1::PluginFieldType::kINT64) {
    std::memcpy(value, field.data, sizeof *value);
    return true;
  }
  int32_t narrow;
  if (field.type != nvinfer1::PluginFieldType::kINT32) return false;
  std::memcpy(&narrow, field.data, sizeof narrow);
  *value = narrow;
  return true;
}

// Returns the position of a name in kFieldNames, or their number.
size_t find(const char* name) {
  size_t i = 0;
  while (i < kFieldNames.size() && std::strcmp(name, kFieldNames[i].name) != 0) ++i;
  return i;
}

// Reads the fields that are passed; others keep their defaults, since a pool needs few of them. A
// name that is unknown or occurs twice is refused: this library would build another layer.
bool read(const PluginFieldCollection* passed, Fields* fields) {
  if (passed == nullptr || passed->nbFields < 0) return false;
  if (passed->nbFields > 0 && passed->fields == nullptr) return false;
  std::array<bool, kFieldNames.size()> seen{};
  for (int32_t i = 0; i < passed->nbFields; ++i) {
    const PluginField& field = passed->fields[i];
    const size_t at = field.name == nullptr ? kFieldNames.size() : find(field.name);
    int64_t value = 0;
    if (at == kFieldNames.size() || seen[at] || !read(field, &value)) return false;
    if (value < 0 || value > kFieldNames[at].largest) return false;
    fields->*kFieldNames[at].value = static_cast<int32_t>(value);
    seen[at] = true;
  }
  return true;
}

template <typename T>
class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  explicit Creator(const char* name) noexcept : name_(name) {
    for (size_t i = 0; i < kFieldNames.size(); ++i)
      fields_[i] = {kFieldNames[i].name, nullptr, nvinfer1::PluginFieldType::kINT32, 1};
    collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
  }

  nvinfer1::IPluginV3* createPlugin(const char*, const PluginFieldCollection* passed,
                                    nvinfer1::TensorRTPhase) noexcept override {
    static_assert(std::is_nothrow_constructible_v<T, const Fields&>);
    Fields fields;
    return read(passed, &fields) ? new (std::nothrow) T(fields) : nullptr;
  }
  const PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return name_; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

 private:
  const char* name_;
  std::array<PluginField, kFieldNames.size()> fields_;
  PluginFieldCollection collection_{};
};

}  // namespace
}  // namespace segnet::trt

// TensorRT calls this when it loads the library. The creators are never freed.
SEGNET_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  static segnet::trt::Creator<segnet::trt::PoolPlugin> pool(segnet::trt::kPoolName);
  static segnet::trt::Creator<segnet::trt::UnpoolPlugin> unpool(segnet::trt::kUnpoolName);
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&pool, &unpool};
  count = 2;
  return creators;
}

// TensorRT requires this symbol. The finder is not used: its layout changed in TensorRT 11.
SEGNET_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder*) {}
