#include "gpunn/training/data_paths.h"

#include <cstdlib>

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/training/settings.h"

namespace gpunn {

namespace {

constexpr const char* kMnistFiles[] = {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz",
                                       "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"};
constexpr const char* kFashionSystem[] = {"/usr/share/datasets/fashion-mnist"};

constexpr const char* kCifarFiles[] = {"data_batch_1.bin.gz", "data_batch_2.bin.gz", "data_batch_3.bin.gz",
                                       "data_batch_4.bin.gz", "data_batch_5.bin.gz", "test_batch.bin.gz"};
constexpr const char* kCifarSubsetFiles[] = {"data_batch_1_first4000.bin.gz", "test_batch_first1000.bin.gz"};

constexpr const char* kShakespeareFiles[] = {"tinyshakespeare.txt"};
constexpr const char* kNamesFiles[] = {"names.txt"};
constexpr const char* kPolarityFiles[] = {"rt-polarity.neg", "rt-polarity.pos"};
constexpr const char* kAirlineFiles[] = {"airline-passengers.csv"};
constexpr const char* kTemperatureFiles[] = {"daily-min-temperatures.csv"};
constexpr const char* kSunspotFiles[] = {"monthly-sunspots.csv"};
constexpr const char* kGpt2Files[] = {"config.json", "model.safetensors", "vocab.json", "merges.txt"};

constexpr DataSetInfo kDataSets[] = {
    {"fashion-mnist", "70,000 grey 28x28 pictures of clothes in 10 classes", kMnistFiles, kFashionSystem,
     "install the package dataset-fashion-mnist (apt), or put the four files into a folder fashion-mnist"},
    {"mnist",
     "70,000 grey 28x28 handwritten digits",
     kMnistFiles,
     {},
     "put the four files of MNIST (.gz or not) into a folder mnist below one of these places"},
    {"cifar10",
     "60,000 colour 32x32 pictures of 10 classes, binary version",
     kCifarFiles,
     {},
     "put the six .bin files of CIFAR-10 (.gz or not) into a folder cifar10 below one of these places"},
    {"cifar10-subset",
     "the first 4,000 training and 1,000 test pictures of CIFAR-10",
     kCifarSubsetFiles,
     {},
     "put data_batch_1_first4000.bin.gz and test_batch_first1000.bin.gz into a folder cifar10",
     "cifar10"},
    {"tinyshakespeare",
     "1.1 million characters of Shakespeare's plays",
     kShakespeareFiles,
     {},
     "put tinyshakespeare.txt into a folder text below one of these places",
     "text"},
    {"names",
     "32,033 first names in lower case, one a line",
     kNamesFiles,
     {},
     "put names.txt into a folder text below one of these places",
     "text"},
    {"rt-polarity",
     "5,331 negative and 5,331 positive sentences of film reviews",
     kPolarityFiles,
     {},
     "put rt-polarity.neg and rt-polarity.pos (UTF-8) into a folder sentiment below one of these places",
     "sentiment"},
    {"airline-passengers",
     "144 monthly totals of airline passengers, 1949 to 1960",
     kAirlineFiles,
     {},
     "put airline-passengers.csv into a folder timeseries below one of these places",
     "timeseries"},
    {"daily-min-temperatures",
     "3,650 daily minimum temperatures in Melbourne, 1981 to 1990",
     kTemperatureFiles,
     {},
     "put daily-min-temperatures.csv into a folder timeseries below one of these places",
     "timeseries"},
    {"monthly-sunspots",
     "2,820 monthly sunspot numbers, 1749 to 1983",
     kSunspotFiles,
     {},
     "put monthly-sunspots.csv into a folder timeseries below one of these places",
     "timeseries"},
    {"gpt2",
     "GPT-2 as it is published: sizes, weights, vocabulary",
     kGpt2Files,
     {},
     "put config.json, model.safetensors, vocab.json and merges.txt into a folder gpt2 below one of these "
     "places"},
    {"digits", "1,797 grey 8x8 handwritten digits (UCI), with a stored split", {}, {}, "built in"},
};

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string last_part(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path.substr(path.rfind('/') == std::string::npos ? 0 : path.rfind('/') + 1);
}

std::string join(const std::string& folder, const std::string& name) {
  return folder.empty() || folder.back() == '/' ? folder + name : folder + "/" + name;
}

// The path of `file` in `folder`, compressed or not; empty when neither is there.
std::string path_of(const std::string& folder, std::string file) {
  std::string path = join(folder, file);
  if (path_exists(path)) return path;
  constexpr std::string_view kSuffix = ".gz";
  if (path.size() < kSuffix.size() || path.substr(path.size() - kSuffix.size()) != kSuffix) return "";
  path.resize(path.size() - kSuffix.size());
  return path_exists(path) ? path : "";
}

DataPlace look(std::string origin, std::string folder, const DataSetInfo& info) {
  DataPlace place{std::move(origin), std::move(folder), {}};
  for (const char* file : info.files)
    if (path_of(place.folder, file).empty()) place.missing.push_back(file);
  return place;
}

// MNIST's and Fashion-MNIST's files have the same names: a folder that holds them directly counts only when
// the user named it, or when it is called like the data set.
void add_places(std::vector<DataPlace>& places, const char* origin, const std::string& folder,
                bool may_be_direct, const DataSetInfo& info) {
  if (folder.empty()) return;
  const char* own = info.folder ? info.folder : info.name;
  DataPlace below = look(origin, join(folder, own), info);
  if (!below.missing.empty() && (may_be_direct || last_part(folder) == own)) {
    DataPlace direct = look(origin, folder, info);
    // The more complete of the two is what the user meant.
    if (direct.missing.size() <= below.missing.size()) below = std::move(direct);
  }
  places.push_back(std::move(below));
}

}  // namespace

std::span<const DataSetInfo> known_data_sets() noexcept { return kDataSets; }

const DataSetInfo& data_set_info(std::string_view name) {
  std::vector<std::string> names;
  for (const DataSetInfo& info : kDataSets) {
    if (info.name == name) return info;
    names.push_back(info.name);
  }
  const std::string near = nearest_name(name, names);
  throw InvalidArgument("no data set is called '" + std::string(name) + "'" +
                        (near.empty() ? "" : ", did you mean '" + near + "'?"));
}

std::vector<DataPlace> data_places(const DataSetInfo& info, const std::string& data_dir) {
  std::vector<DataPlace> places;
  if (info.files.empty()) {
    places.push_back({"built in", "", {}});
    return places;
  }
  if (!data_dir.empty()) {
    add_places(places, "--data", data_dir, true, info);
    return places;
  }
  add_places(places, "$GPUNN_DATA_DIR", environment("GPUNN_DATA_DIR"), false, info);
  std::string cache = environment("XDG_CACHE_HOME");
  if (cache.empty() && !environment("HOME").empty()) cache = join(environment("HOME"), ".cache");
  if (!cache.empty()) add_places(places, "user cache", join(cache, "gpunn"), false, info);
  for (const char* folder : info.system) places.push_back(look("system", folder, info));
  return places;
}

std::vector<std::string> find_data(const DataSetInfo& info, const std::string& data_dir) {
  const std::vector<DataPlace> places = data_places(info, data_dir);
  std::string looked;
  for (const DataPlace& place : places) {
    if (place.missing.empty()) {
      std::vector<std::string> paths;
      for (const char* file : info.files) paths.push_back(path_of(place.folder, file));
      return paths;
    }
    looked += (looked.empty() ? "" : "; ") + place.folder + " (" + place.origin + ") lacks " +
              place.missing.front() +
              (place.missing.size() > 1 ? " and " + std::to_string(place.missing.size() - 1) + " more" : "");
  }
  throw DataError(std::string("data set ") + info.name +
                  " not found: " + (looked.empty() ? "no place to look" : looked) + "; " + info.hint +
                  ", or name a folder with --data");
}

}  // namespace gpunn
