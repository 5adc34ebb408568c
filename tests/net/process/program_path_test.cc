#include "net/process/program_path.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temporary_folder.h"

namespace penstock::net {
namespace {

using ::testing::HasSubstr;

class ProgramPathTest : public ::testing::Test {
 protected:
  ProgramPathTest() {
    std::filesystem::create_directory(folder.path("own"));
    std::filesystem::create_directory(folder.path("one"));
    std::filesystem::create_directory(folder.path("two"));
  }
  TemporaryFolder folder;
  std::string path() const { return folder.path("one") + "::" + folder.path("two"); }
};

TEST_F(ProgramPathTest, LooksBesideTheOwnBinaryFirst) {
  const std::string own = folder.program("own/sidecar", "#!/bin/sh\n");
  folder.program("one/sidecar", "#!/bin/sh\n");
  EXPECT_EQ(findProgram("sidecar", folder.path("own"), path()), own);
}

TEST_F(ProgramPathTest, ThenInPathInItsOrder) {
  const std::string second = folder.program("two/sidecar", "#!/bin/sh\n");
  EXPECT_EQ(findProgram("sidecar", folder.path("own"), path()), second);
  const std::string first = folder.program("one/sidecar", "#!/bin/sh\n");
  EXPECT_EQ(findProgram("sidecar", folder.path("own"), path()), first);
}

TEST_F(ProgramPathTest, PassesOverWhatCannotBeRun) {
  std::ofstream(folder.path("own/sidecar")) << "text";
  std::filesystem::create_directory(folder.path("one/sidecar"));
  const std::string second = folder.program("two/sidecar", "#!/bin/sh\n");
  EXPECT_EQ(findProgram("sidecar", folder.path("own"), path()), second);
}

TEST_F(ProgramPathTest, TakesAPathAsItIs) {
  const std::string program = folder.program("two/sidecar", "#!/bin/sh\n");
  EXPECT_EQ(findProgram(program, folder.path("own"), ""), program);
  const auto missing = findProgram("./none/sidecar", folder.path("two"), folder.path("two"));
  ASSERT_FALSE(missing.has_value());
  EXPECT_THAT(missing.error().message, HasSubstr("./none/sidecar"));
}

TEST_F(ProgramPathTest, SaysWhereItLooked) {
  const auto missing = findProgram("sidecar", folder.path("own"), path());
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().message,
            "cannot find the program sidecar, neither beside this one nor in PATH");
}

TEST_F(ProgramPathTest, KnowsItsOwnFolder) {
  const auto self =
      findProgram(std::filesystem::read_symlink("/proc/self/exe").filename().string());
  ASSERT_TRUE(self.has_value()) << self.error().message;
  EXPECT_EQ(*self, std::filesystem::read_symlink("/proc/self/exe").string());
}

}  // namespace
}  // namespace penstock::net
