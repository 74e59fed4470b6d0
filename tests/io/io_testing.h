#pragma once
// What the tests of io share: a folder that cleans up, bytes from pieces, and the check that bad input is
// refused well.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"

namespace gpunn::testing {

/// A fresh folder, removed with its contents at the end. In memory where the system has such a place: some
/// tests write thousands of files.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    const bool has_memory = access("/dev/shm", W_OK) == 0;
    const auto parent =
        has_memory ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path();
    std::string pattern = (parent / "gpunn_io_XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }
  const std::string& path() const { return path_; }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename());
    return names;
  }

 private:
  std::string path_;
};

/// Written with the standard library, so that tests of io/file do not rely on io/file.
inline void put_file(const std::string& path, std::span<const std::uint8_t> data) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
}
inline void put_file(const std::string& path, std::string_view text) { put_file(path, as_bytes(text)); }

inline std::string get_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

inline Bytes joined(std::initializer_list<std::string_view> parts) {
  Bytes out;
  for (const std::string_view part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

/// `f` must throw exactly a DataError whose message has every part.
template <class F>
void expect_data_error(F&& f, std::initializer_list<std::string_view> parts, std::string_view what = "") {
  try {
    f();
  } catch (const DataError& error) {
    for (const std::string_view part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << what << ": expected '" << part << "' in: " << error.what();
    }
    return;
  } catch (const std::exception& error) {
    ADD_FAILURE() << what << ": expected a DataError, got " << error.what();
    return;
  }
  ADD_FAILURE() << what << ": expected a DataError, nothing was thrown";
}

/// A variable of the environment, or `otherwise`.
inline std::string environment(const char* name, const std::string& otherwise) {
  const char* text = getenv(name);  // NOLINT(concurrency-mt-unsafe): tests set no variables
  return text ? text : otherwise;
}

/// The folder of real data sets, "" when the tests run without.
inline std::string test_data_folder() { return environment("GPUNN_TEST_DATA_DIR", ""); }

}  // namespace gpunn::testing
