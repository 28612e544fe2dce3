// Segments frames with ONNX Runtime's C++ API and the operators of libsegnet_onnxruntime.
//
//   segnet_run segnet.onnx -o out [--ops libsegnet_onnxruntime.so] [--threads N] [frame.ppm ...]
//
// The file is one of `segnet-export --io frame`: it normalises and takes the argmax itself, so that
// frames go in and label maps come out. Frames are binary PPM files, or a sequence of them on stdin:
//   ffmpeg -i drive.mp4 -vf scale=480:360 -f image2pipe -c:v ppm - | segnet_run segnet.onnx -o out
// Label maps are PGM files of class ids, out/000000.pgm and so on.
// Run on 26 November 2026: x86-64, GCC 12, ONNX Runtime 1.32; labels equal to Python's.

#include <onnxruntime_cxx_api.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Options {
  std::string model, folder, operators;
  int threads = 0;  // 0: ONNX Runtime's default
  std::vector<std::string> frames;
};

struct Image {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> pixels;  // (height, width, 3), BGR
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool takes_value = word == "-o" || word == "--ops" || word == "--threads";
    if (takes_value && i + 1 == argc) throw std::invalid_argument(word + ": expected a value");
    if (word == "-o") options.folder = argv[++i];
    else if (word == "--ops") options.operators = argv[++i];
    else if (word == "--threads") options.threads = std::stoi(argv[++i]);
    else if (word.size() > 1 && word[0] == '-') throw std::invalid_argument("no option " + word);
    else if (options.model.empty()) options.model = word;
    else options.frames.push_back(word);
  }
  if (options.model.empty() || options.folder.empty())
    throw std::invalid_argument(
        "usage: segnet_run segnet.onnx -o DIR [--ops F.so] [--threads N] [frame.ppm ...]");
  return options;
}

// Reads one number of a PPM header, behind spaces and comments.
int64_t read_number(std::istream& in) {
  while (std::isspace(in.peek()) || in.peek() == '#') {
    if (in.peek() == '#') in.ignore(4096, '\n');
    else in.get();
  }
  int64_t value = -1;
  in >> value;
  return value;
}

// Reads the next PPM of a stream; returns false at its end.
bool read_ppm(std::istream& in, const std::string& name, Image& image) {
  if (in.peek() == std::istream::traits_type::eof()) return false;
  char magic[2] = {};
  in.read(magic, 2);
  if (magic[0] != 'P' || magic[1] != '6')
    throw std::runtime_error(name + " is not a binary PPM; convert it: ffmpeg -i F F.ppm");
  image.width = read_number(in);
  image.height = read_number(in);
  const int64_t largest = read_number(in);
  if (image.width < 1 || image.height < 1 || image.width > 65536 || image.height > 65536 ||
      largest != 255)
    throw std::runtime_error(name + ": damaged header; expected width, height and 255");
  in.get();  // the one space before the pixels
  image.pixels.resize(image.height * image.width * 3);
  in.read(reinterpret_cast<char*>(image.pixels.data()), image.pixels.size());
  if (in.gcount() != static_cast<std::streamsize>(image.pixels.size()))
    throw std::runtime_error(name + " is truncated");
  for (size_t i = 0; i < image.pixels.size(); i += 3)  // a PPM has RGB
    std::swap(image.pixels[i], image.pixels[i + 2]);
  return true;
}

void write_pgm(const std::string& path, const uint8_t* labels, int64_t height, int64_t width) {
  const std::string partial = path + ".part";
  std::ofstream out(partial, std::ios::binary);
  out << "P5\n" << width << ' ' << height << "\n255\n";
  out.write(reinterpret_cast<const char*>(labels), height * width);
  out.close();
  if (!out) throw std::runtime_error("cannot write " + path);
  std::filesystem::rename(partial, path);
}

class Segmenter {
 public:
  explicit Segmenter(const Options& options) : session_(nullptr) {
    Ort::SessionOptions settings;
    settings.SetIntraOpNumThreads(options.threads);
    if (!options.operators.empty()) settings.RegisterCustomOpsLibrary(options.operators.c_str());
    session_ = Ort::Session(environment_, options.model.c_str(), settings);
    const auto type = session_.GetInputTypeInfo(0);
    const auto info = type.GetTensorTypeAndShapeInfo();
    shape_ = info.GetShape();
    if (info.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 || shape_.size() != 4)
      throw std::runtime_error(options.model + " does not read frames; export it with --io frame");
    input_ = session_.GetInputNameAllocated(0, allocator_).get();
    output_ = session_.GetOutputNameAllocated(0, allocator_).get();
  }

  // Returns the label map, (1, height, width) uint8.
  Ort::Value segment(Image& image) {
    const int64_t given[] = {1, image.height, image.width, 3};
    for (int axis = 0; axis < 4; ++axis)
      if (shape_[axis] > 0 && shape_[axis] != given[axis])  // -1: dynamic
        throw std::runtime_error(
            "a frame has " + std::to_string(image.width) + "x" + std::to_string(image.height) +
            " pixels, the file needs " + std::to_string(shape_[2]) + "x" +
            std::to_string(shape_[1]) + "; scale it: ffmpeg -vf scale=W:H");
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const auto frame = Ort::Value::CreateTensor<uint8_t>(memory, image.pixels.data(),
                                                         image.pixels.size(), given, 4);
    const char* inputs[] = {input_.c_str()};
    const char* outputs[] = {output_.c_str()};
    auto results = session_.Run(Ort::RunOptions{nullptr}, inputs, &frame, 1, outputs, 1);
    return std::move(results[0]);
  }

 private:
  Ort::Env environment_{ORT_LOGGING_LEVEL_ERROR, "segnet_run"};
  Ort::AllocatorWithDefaultOptions allocator_;
  Ort::Session session_;
  std::vector<int64_t> shape_;
  std::string input_, output_;
};

void run(const Options& options) {
  Segmenter segmenter(options);
  std::filesystem::create_directories(options.folder);
  int count = 0;
  double seconds = 0;
  Image image;
  const auto segment_all = [&](std::istream& in, const std::string& name) {
    while (read_ppm(in, name, image)) {
      const auto start = std::chrono::steady_clock::now();
      const Ort::Value labels = segmenter.segment(image);
      seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      char file[32];
      std::snprintf(file, sizeof file, "%06d.pgm", count++);
      const auto path = (std::filesystem::path(options.folder) / file).string();
      write_pgm(path, labels.GetTensorData<uint8_t>(), image.height, image.width);
    }
  };
  if (options.frames.empty()) segment_all(std::cin, "stdin");
  for (const std::string& name : options.frames) {
    std::ifstream in(name, std::ios::binary);
    if (!in) throw std::runtime_error("no such file: " + name);
    segment_all(in, name);
  }
  std::cout << count << " frames, " << (count ? 1000 * seconds / count : 0) << " ms each\n";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const std::invalid_argument& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {  // Ort::Exception is one
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
}
