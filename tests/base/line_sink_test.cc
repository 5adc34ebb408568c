#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

namespace penstock {
namespace {

// A file name that nobody else has, gone with the test.
class TemporaryFile {
 public:
  TemporaryFile() {
    const int fd = ::mkstemp(name_.data());
    EXPECT_GE(fd, 0);
    ::close(fd);
  }
  ~TemporaryFile() { ::unlink(name_.c_str()); }
  const std::string& name() const { return name_; }
  std::string contents() const {
    std::ostringstream out;
    out << std::ifstream(name_).rdbuf();
    return out.str();
  }

 private:
  std::string name_ = testing::TempDir() + "line_sink_XXXXXX";
};

TEST(LineSink, AppendsToTheFile) {
  const TemporaryFile file;
  std::ofstream(file.name()) << "before\n";
  {
    auto sink = LineSink::open(file.name());
    ASSERT_TRUE(sink);
    (*sink)->write("one\n");
    (*sink)->write("two\nthree\n");
  }
  EXPECT_EQ(file.contents(), "before\none\ntwo\nthree\n");
}

TEST(LineSink, WritesEverythingThatWasQueuedBeforeItEnds) {
  const TemporaryFile file;
  {
    auto sink = LineSink::open(file.name());
    ASSERT_TRUE(sink);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) {
          (*sink)->write("a line\n");
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }
  EXPECT_EQ(file.contents().size(), 4U * 1000 * 7);
}

TEST(LineSink, WritesToANewFileOnceItIsOpenedAgain) {
  const TemporaryFile file;
  const std::string renamed = file.name() + ".1";
  auto sink = LineSink::open(file.name());
  ASSERT_TRUE(sink);
  (*sink)->write("old\n");
  (*sink)->flush();
  ASSERT_EQ(std::rename(file.name().c_str(), renamed.c_str()), 0);
  ASSERT_TRUE((*sink)->reopen());
  ASSERT_TRUE((*sink)->reopen());
  (*sink)->write("new\n");
  (*sink)->flush();
  std::ostringstream old;
  old << std::ifstream(renamed).rdbuf();
  ::unlink(renamed.c_str());
  EXPECT_EQ(old.str(), "old\n");
  EXPECT_EQ(file.contents(), "new\n");
}

TEST(LineSink, KeepsTheFileThatItHasIfThePathCannotBeOpenedAgain) {
  const std::string folder = testing::TempDir() + "line_sink_folder";
  ASSERT_EQ(::mkdir(folder.c_str(), 0700), 0);
  const std::string moved = folder + ".1";
  auto sink = LineSink::open(folder + "/log");
  ASSERT_TRUE(sink);
  ASSERT_EQ(std::rename(folder.c_str(), moved.c_str()), 0);
  const auto reopened = (*sink)->reopen();
  ASSERT_FALSE(reopened);
  EXPECT_THAT(reopened.error().message, testing::HasSubstr(folder));
  (*sink)->write("a line\n");
  (*sink)->flush();
  std::ostringstream text;
  text << std::ifstream(moved + "/log").rdbuf();
  ::unlink((moved + "/log").c_str());
  ::rmdir(moved.c_str());
  EXPECT_EQ(text.str(), "a line\n");
}

TEST(LineSink, IsNotHeldUpByAPipeThatNobodyReads) {
  const TemporaryFile file;
  auto sink = LineSink::open(file.name());
  ASSERT_TRUE(sink);
  ASSERT_EQ(::unlink(file.name().c_str()), 0);
  ASSERT_EQ(::mkfifo(file.name().c_str(), 0600), 0);
  EXPECT_FALSE((*sink)->reopen());
}

TEST(LineSink, SaysWhyAFileCannotBeOpened) {
  const auto sink = LineSink::open("/nonexistent/access.log");
  ASSERT_FALSE(sink);
  EXPECT_THAT(sink.error().message,
              testing::AllOf(testing::HasSubstr("/nonexistent/access.log"),
                             testing::HasSubstr("No such file or directory")));
}

// Nobody reads the pipe: the caller is not held up, and what does not fit is counted.
TEST(LineSink, DropsAndCountsWhatNobodyReads) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  auto sink = LineSink::open("/dev/fd/" + std::to_string(ends[1]));
  ASSERT_TRUE(sink);
  ::close(ends[1]);
  const std::string line(1023, 'x');
  for (int i = 0; i < 16 * 1024; ++i) {
    (*sink)->write(line + "\n");
  }
  EXPECT_GE((*sink)->dropped(), 7U * 1024);
  EXPECT_LE((*sink)->dropped(), 9U * 1024);
  ::close(ends[0]);
}

TEST(LineSink, SurvivesAReaderThatWentAway) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  auto sink = LineSink::open("/dev/fd/" + std::to_string(ends[1]));
  ASSERT_TRUE(sink);
  ::close(ends[1]);
  ::close(ends[0]);
  (*sink)->write("nobody hears this\nnor that\n");
  while ((*sink)->dropped() < 2) {
    std::this_thread::yield();
  }
}

TEST(LineSink, PassesAPipeOnWholeLineByLine) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  constexpr int kLines = 5000;
  std::string expected;
  {
    auto sink = LineSink::open("/dev/fd/" + std::to_string(ends[1]));
    ASSERT_TRUE(sink);
    ::close(ends[1]);
    std::string read;
    std::thread reader([&] {
      char block[4096];
      for (ssize_t n = ::read(ends[0], block, sizeof block); n > 0;
           n = ::read(ends[0], block, sizeof block)) {
        read.append(block, static_cast<std::size_t>(n));
      }
    });
    for (int i = 0; i < kLines; ++i) {
      const std::string line = "line " + std::to_string(i) + "\n";
      expected += line;
      (*sink)->write(line);
    }
    sink->reset();
    reader.join();
    EXPECT_EQ(read, expected);
  }
  ::close(ends[0]);
}

}  // namespace
}  // namespace penstock
