#include "model_runtime/native/model_library.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace penstock::runtime {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct NeverCancelled final : CancellationToken {
  bool cancelled() const override { return false; }
  bool sleepUntil(TimePoint) const override { return true; }
};

std::string errorOf(const std::string& path) {
  const auto model = loadModelLibrary(path);
  EXPECT_FALSE(model.has_value());
  return model.has_value() ? "" : model.error().message;
}

TEST(ModelLibrary, MakesTheModel) {
  auto model = loadModelLibrary(PENSTOCK_GOOD_MODEL);
  ASSERT_TRUE(model.has_value()) << model.error().message;
  const NeverCancelled token;
  const Call call{.request_id = "", .deadline = Deadline::never(), .token = token};
  auto state = (*model)->preprocess({.body = "morning", .content_type = ""}, call);
  state = (*model)->predict(std::move(*state), call, 0);
  const auto output = (*model)->postprocess(std::move(*state), call);
  ASSERT_TRUE(output.has_value());
  EXPECT_EQ(output->body, "good morning");
}

TEST(ModelLibrary, RefusesAnotherVersionOfTheInterface) {
  EXPECT_THAT(errorOf(PENSTOCK_OLD_MODEL), HasSubstr("version"));
}

TEST(ModelLibrary, RefusesALibraryThatIsNoModel) {
  EXPECT_THAT(errorOf(PENSTOCK_NO_MODEL), HasSubstr("PENSTOCK_MODEL"));
}

TEST(ModelLibrary, SaysWhatTheSystemSaysOfWhatCannotBeLoaded) {
  EXPECT_THAT(errorOf("/nowhere/libx.so"), HasSubstr("/nowhere/libx.so"));
}

TEST(ModelLibrary, AConstructorThatThrowsIsAnError) {
  EXPECT_THAT(errorOf(PENSTOCK_THROWING_MODEL), HasSubstr("no luck"));
}

TEST(ModelLibrary, IsFoundInTheModelsDirectoryOrBesideTheProgram) {
  const fs::path good = PENSTOCK_GOOD_MODEL;
  const auto beside = findModelLibrary(good.filename(), good.parent_path());
  ASSERT_TRUE(beside.has_value());
  EXPECT_TRUE(fs::equivalent(*beside, good));
  const auto relative = findModelLibrary("./" + good.filename().string(), good.parent_path());
  ASSERT_TRUE(relative.has_value());
  EXPECT_TRUE(fs::equivalent(*relative, good));

  const fs::path program = fs::read_symlink("/proc/self/exe");
  const auto own = findModelLibrary(program.filename(), "/nowhere");
  ASSERT_TRUE(own.has_value()) << "beside the program";
  EXPECT_TRUE(fs::equivalent(*own, program));
}

TEST(ModelLibrary, APathIsNotLookedForElsewhere) {
  const fs::path program = fs::read_symlink("/proc/self/exe");
  const auto missing = findModelLibrary("./" + program.filename().string(), "/nowhere");
  ASSERT_FALSE(missing.has_value());
  EXPECT_THAT(missing.error().message, HasSubstr("/nowhere/"));
}

}  // namespace
}  // namespace penstock::runtime
