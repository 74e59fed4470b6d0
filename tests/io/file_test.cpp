#include "gpunn/io/file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <thread>

#include "gpunn/io/detail/file_calls.h"
#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

using testing::expect_data_error;
using testing::get_file;
using testing::put_file;
using testing::TemporaryFolder;

constexpr std::string_view kOld = "the old file";
const std::string kNew(10'000, 'n');

/// Counts calls and makes the k-th do something else; the others run.
class FaultyCalls final : public detail::FileCalls {
 public:
  enum class Fault { none, error, interrupt, shorten };
  Fault fault = Fault::none;
  int at = -1;  // which call, from 0
  int error_number = EIO;
  int calls = 0;
  std::string failed;  // name of the call that failed

  int open(const char* path, int flags, mode_t mode) override {
    return hit("open") ? -1 : FileCalls::open(path, flags, mode);
  }
  int fstat(int fd, struct stat* out) override { return hit("fstat") ? -1 : FileCalls::fstat(fd, out); }
  ssize_t read(int fd, void* data, std::size_t bytes) override {
    return hit("read") ? -1 : FileCalls::read(fd, data, shortened(bytes));
  }
  ssize_t pread(int fd, void* data, std::size_t bytes, off_t offset) override {
    return hit("pread") ? -1 : FileCalls::pread(fd, data, shortened(bytes), offset);
  }
  ssize_t write(int fd, const void* data, std::size_t bytes) override {
    return hit("write") ? -1 : FileCalls::write(fd, data, shortened(bytes));
  }
  int fsync(int fd) override { return hit("fsync") ? -1 : FileCalls::fsync(fd); }
  int close(int fd) override {
    const bool fails = hit("close");
    const int result = FileCalls::close(fd);  // Linux releases the descriptor in any case
    if (!fails) return result;
    errno = fault == Fault::interrupt ? EINTR : error_number;
    return -1;
  }
  int rename(const char* from, const char* to) override {
    return hit("rename") ? -1 : FileCalls::rename(from, to);
  }
  int mkdir(const char* path, mode_t mode) override {
    return hit("mkdir") ? -1 : FileCalls::mkdir(path, mode);
  }

 private:
  bool hit(const char* name) {
    const bool now = calls++ == at;
    if (!now || fault == Fault::none || fault == Fault::shorten) return false;
    failed = name;
    errno = fault == Fault::interrupt ? EINTR : error_number;
    return true;
  }
  std::size_t shortened(std::size_t bytes) const {
    return fault == Fault::shorten ? std::min<std::size_t>(bytes, 7) : bytes;
  }
};

int calls_of(const std::function<void()>& action) {
  FaultyCalls counting;
  const detail::FileCallsScope scope(counting);
  action();
  return counting.calls;
}

TEST(File, ReadsWhatIsThere) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 1u, 4095u, 65'536u, 200'001u}) {
    std::string text(size, 'x');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7);
    put_file(folder.file("a"), text);
    EXPECT_EQ(read_text_file(folder.file("a")), text);
    EXPECT_EQ(as_text(read_file(folder.file("a"))), text);
    EXPECT_EQ(read_text_file(folder.file("a"), size), text);
    if (size > 0) {
      expect_data_error([&] { read_file(folder.file("a"), size - 1); }, {folder.file("a"), "at most"});
    }
  }
}

TEST(File, ReadsFilesThatAnnounceNoSize) {
  const std::string text = read_text_file("/proc/self/status");
  EXPECT_NE(text.find("Name:"), std::string::npos);
  expect_data_error([] { read_file("/dev/zero", 1'000'000); }, {"/dev/zero", "at most 1000000 bytes"});
}

TEST(File, ReadErrorsNamePathAndReason) {
  const TemporaryFolder folder;
  expect_data_error([&] { read_file(folder.file("none")); }, {folder.file("none"), "No such file"});
  expect_data_error([&] { read_file(folder.path()); }, {folder.path(), "Is a directory"});
  expect_data_error([&] { InputFile f(folder.path()); }, {folder.path(), "Is a directory"});
  expect_data_error([&] { InputFile f("/dev/null"); }, {"/dev/null", "regular file"});
  expect_data_error([] { read_file(""); }, {"Invalid argument"});
  put_file(folder.file("a"), "text");
  expect_data_error([&] { read_file(folder.file(std::string_view("a\0b", 3))); }, {"Invalid argument"});
}

TEST(File, InputFileReadsAtOffsets) {
  const TemporaryFolder folder;
  put_file(folder.file("a"), "0123456789");
  const InputFile file(folder.file("a"));
  EXPECT_EQ(file.size(), 10u);
  std::uint8_t four[4];
  file.read_at(3, four);
  EXPECT_EQ(as_text(four), "3456");
  expect_data_error([&] { file.read_at(8, four); }, {folder.file("a"), "expected 2 more bytes at offset 10"});
  file.read_at(10, {});
}

TEST(File, EveryFailingReadNamesThePath) {
  const TemporaryFolder folder;
  put_file(folder.file("a"), kNew);
  const auto read_both = [&] {
    EXPECT_EQ(read_text_file(folder.file("a")), kNew);
    const InputFile file(folder.file("a"));
    Bytes all(file.size());
    file.read_at(0, all);
    EXPECT_EQ(as_text(all), kNew);
  };
  const int total = calls_of(read_both);
  ASSERT_GE(total, 8);
  int failures = 0;
  for (int k = 0; k < total; ++k) {
    FaultyCalls faulty;
    faulty.at = k;
    faulty.fault = FaultyCalls::Fault::error;
    const detail::FileCallsScope scope(faulty);
    try {
      read_both();
      EXPECT_EQ(faulty.failed, "close") << k;  // nothing is lost when closing a file that was read fails
    } catch (const DataError& error) {
      ++failures;
      EXPECT_NE(std::string(error.what()).find(folder.file("a")), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("Input/output error"), std::string::npos) << error.what();
    }
  }
  EXPECT_GE(failures, 6);
}

TEST(File, InterruptedAndShortReadsAreContinued) {
  const TemporaryFolder folder;
  put_file(folder.file("a"), kNew);
  const auto read = [&] { EXPECT_EQ(read_text_file(folder.file("a")), kNew); };
  const int total = calls_of(read);
  for (int k = 0; k < total; ++k) {
    FaultyCalls faulty;
    faulty.at = k;
    faulty.fault = FaultyCalls::Fault::interrupt;
    const detail::FileCallsScope scope(faulty);
    if (k == 1) continue;  // fstat is never interrupted
    read();
    EXPECT_FALSE(faulty.failed.empty());
  }
  FaultyCalls shortened;
  shortened.fault = FaultyCalls::Fault::shorten;
  const detail::FileCallsScope scope(shortened);
  read();
  EXPECT_GT(shortened.calls, 1000);
}

TEST(AtomicFile, ReplacesTheWholeFile) {
  const TemporaryFolder folder;
  put_file(folder.file("a"), kOld);
  {
    AtomicFile file(folder.file("a"));
    file.write("one ");
    file.write("two");
    EXPECT_EQ(get_file(folder.file("a")), kOld);
    file.commit();
    EXPECT_THROW(file.write("more"), InvalidArgument);
    EXPECT_THROW(file.commit(), InvalidArgument);
  }
  EXPECT_EQ(get_file(folder.file("a")), "one two");
  EXPECT_EQ(folder.entries().size(), 1u);
}

TEST(AtomicFile, WithoutCommitNothingHappens) {
  const TemporaryFolder folder;
  put_file(folder.file("a"), kOld);
  {
    AtomicFile(folder.file("a")).write("new");
  }
  EXPECT_EQ(get_file(folder.file("a")), kOld);
  EXPECT_EQ(folder.entries().size(), 1u);
}

TEST(AtomicFile, RefusesWhatIsNoFileName) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.file("d"));
  for (const std::string& path :
       {std::string(), folder.file("d/"), folder.file("none/a"), folder.file("d")}) {
    try {
      write_file_atomic(path, "text");
      ADD_FAILURE() << path;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path + ": cannot "), std::string::npos) << error.what();
    }
  }
  EXPECT_EQ(folder.entries().size(), 1u);
}

TEST(AtomicFile, RelativePathsWork) {
  const TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  write_file_atomic("a", "text");
  std::filesystem::current_path(before);
  EXPECT_EQ(get_file(folder.file("a")), "text");
}

TEST(AtomicFile, ATemporaryOfADeadProcessIsNoObstacle) {
  const TemporaryFolder folder;
  FaultyCalls faulty;
  faulty.at = 0;
  faulty.fault = FaultyCalls::Fault::error;
  faulty.error_number = EEXIST;
  const detail::FileCallsScope scope(faulty);
  write_file_atomic(folder.file("a"), "text");
  EXPECT_EQ(faulty.failed, "open");
  EXPECT_EQ(get_file(folder.file("a")), "text");
}

/// For every system call of an atomic write: the call fails, and what is on disk is one of the two files,
/// whole.
void check_every_failure(int error_number, std::string_view reason) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a");
  const auto write = [&] { write_file_atomic(path, kNew); };
  const int total = calls_of(write);
  ASSERT_EQ(total, 8);  // open, write, fsync, close, rename, open folder, fsync, close
  for (int k = 0; k < total; ++k) {
    put_file(path, kOld);
    FaultyCalls faulty;
    faulty.at = k;
    faulty.fault = FaultyCalls::Fault::error;
    faulty.error_number = error_number;
    bool failed = false;
    {
      const detail::FileCallsScope scope(faulty);
      try {
        write();
      } catch (const DataError&) {
        ADD_FAILURE() << "a failed write is no DataError";
      } catch (const Error& error) {
        failed = true;
        EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
      }
    }
    const bool renamed = k > 4;
    EXPECT_EQ(get_file(path), renamed ? kNew : kOld) << faulty.failed << " " << k;
    EXPECT_EQ(failed, k != 7) << faulty.failed;  // closing the folder loses nothing
    EXPECT_EQ(folder.entries(), std::vector<std::string>{"a"}) << "temporary file left by " << faulty.failed;
  }
}

TEST(AtomicFile, FullDiskLeavesTheOldFile) { check_every_failure(ENOSPC, "No space left"); }
TEST(AtomicFile, BrokenDiskLeavesTheOldFile) { check_every_failure(EIO, "Input/output error"); }
TEST(AtomicFile, ReadOnlyDiskLeavesTheOldFile) { check_every_failure(EROFS, "Read-only"); }
TEST(AtomicFile, QuotaLeavesTheOldFile) { check_every_failure(EDQUOT, "quota"); }

TEST(AtomicFile, InterruptionsAtEveryCallAreHarmless) {
  const TemporaryFolder folder;
  const auto write = [&] { write_file_atomic(folder.file("a"), kNew); };
  const int total = calls_of(write);
  for (int k = 0; k < total; ++k) {
    put_file(folder.file("a"), kOld);
    FaultyCalls faulty;
    faulty.at = k;
    faulty.fault = FaultyCalls::Fault::interrupt;
    const detail::FileCallsScope scope(faulty);
    write();
    EXPECT_FALSE(faulty.failed.empty());
    EXPECT_EQ(get_file(folder.file("a")), kNew);
  }
}

TEST(AtomicFile, ShortWritesAreContinued) {
  const TemporaryFolder folder;
  FaultyCalls shortened;
  shortened.fault = FaultyCalls::Fault::shorten;
  const detail::FileCallsScope scope(shortened);
  write_file_atomic(folder.file("a"), kNew);
  EXPECT_EQ(get_file(folder.file("a")), kNew);
  EXPECT_GT(shortened.calls, 1000);
}

TEST(AtomicFile, FileSystemsWithoutFolderFlushAreFine) {
  const TemporaryFolder folder;
  FaultyCalls faulty;
  faulty.at = 6;
  faulty.fault = FaultyCalls::Fault::error;
  faulty.error_number = EINVAL;
  const detail::FileCallsScope scope(faulty);
  write_file_atomic(folder.file("a"), kNew);
  EXPECT_EQ(faulty.failed, "fsync");
}

TEST(AtomicFile, ARealLimitOfTheSystemIsReported) {
  const TemporaryFolder folder;
  put_file(folder.file("a"), kOld);
  // RLIMIT_FSIZE makes a real write fail with EFBIG once SIGXFSZ is ignored.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = before;
  small.rlim_cur = 4096;
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  std::string message;
  try {
    write_file_atomic(folder.file("a"), kNew);
  } catch (const Error& error) {
    message = error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old_handler);
  EXPECT_NE(message.find("File too large"), std::string::npos) << message;
  EXPECT_EQ(get_file(folder.file("a")), kOld);
  EXPECT_EQ(folder.entries().size(), 1u);
}

TEST(AtomicFile, ThreadsWritingOneFileLeaveOneWholeVersion) {
  const TemporaryFolder folder;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i)
        write_file_atomic(folder.file("a"), std::string(5000, static_cast<char>('a' + t)));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string text = get_file(folder.file("a"));
  EXPECT_EQ(text, std::string(5000, text.at(0)));
  EXPECT_EQ(folder.entries().size(), 1u);
}

TEST(Directories, AreMadeWithTheirParents) {
  const TemporaryFolder folder;
  create_directories(folder.file("x/y/z"));
  create_directories(folder.file("x/y/z/"));
  create_directories(folder.file("x//y/w"));
  EXPECT_TRUE(path_exists(folder.file("x/y/z")));
  EXPECT_TRUE(path_exists(folder.file("x/y/w")));
  EXPECT_FALSE(path_exists(folder.file("x/none")));

  put_file(folder.file("f"), "file");
  try {
    create_directories(folder.file("f/g"));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(folder.file("f/g")), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("Not a directory"), std::string::npos) << error.what();
  }
  EXPECT_THROW(create_directories(folder.file("f")), Error);
  EXPECT_THROW(create_directories(""), Error);
}

TEST(AppendFile, GrowsByWholeTexts) {
  const TemporaryFolder folder;
  {
    AppendFile log(folder.file("log"));
    log.append("one\n");
    AppendFile other(folder.file("log"));
    other.append("two\n");
    log.append("three\n");
  }
  EXPECT_EQ(get_file(folder.file("log")), "one\ntwo\nthree\n");
  {
    AppendFile fresh(folder.file("log"), true);
  }
  EXPECT_EQ(get_file(folder.file("log")), "");
  EXPECT_THROW(AppendFile(folder.file("none/log")), Error);

  AppendFile log(folder.file("log"));
  FaultyCalls faulty;
  faulty.at = 0;
  faulty.fault = FaultyCalls::Fault::error;
  faulty.error_number = ENOSPC;
  const detail::FileCallsScope scope(faulty);
  try {
    log.append("four\n");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(folder.file("log") + ": cannot append: No space"),
              std::string::npos);
  }
}

}  // namespace
}  // namespace gpunn
