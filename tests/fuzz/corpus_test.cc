// Replays a fuzz target's corpus: every file as it is, and mutated in ways that a fixed seed
// decides. The target itself aborts when something is wrong; what it was given is printed before.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr int kMutationsOfEach = PENSTOCK_MUTATIONS;

struct Input {
  std::string name;
  std::string bytes;
};

std::vector<Input> corpus() {
  std::vector<Input> inputs;
  for (const auto& entry : std::filesystem::directory_iterator(PENSTOCK_CORPUS)) {
    std::ifstream file(entry.path(), std::ios::binary);
    inputs.push_back({entry.path().filename().string(),
                      {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()}});
  }
  std::ranges::sort(inputs, {}, &Input::name);
  return inputs;
}

void run(const std::string& bytes) {
  // Memory of exactly this size, so that a sanitizer sees any step beyond it.
  const std::vector<std::uint8_t> copy(bytes.begin(), bytes.end());
  EXPECT_EQ(LLVMFuzzerTestOneInput(copy.data(), copy.size()), 0);
}

std::string mutated(std::string bytes, const std::string& other, std::mt19937_64& random) {
  const auto below = [&random](std::size_t bound) { return bound == 0 ? 0 : random() % bound; };
  static constexpr char kTelling[] = {'\r', '\n', '\0', ' ', '\t', ':', ',', ';', '0', 'f', '\x80'};
  for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
    const std::size_t at = below(bytes.size() + 1);
    switch (below(6)) {
      case 0:
        bytes.insert(at, 1, kTelling[below(sizeof kTelling)]);
        break;
      case 1:
        bytes.erase(at, 1 + below(3));
        break;
      case 2:
        if (at < bytes.size()) {
          bytes[at] = static_cast<char>(random());
        }
        break;
      case 3:
        bytes.resize(at);
        break;
      case 4:
        bytes.insert(at, other.substr(below(other.size()), below(40)));
        break;
      default:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(40)));
        break;
    }
  }
  return bytes;
}

TEST(Corpus, ReplaysWithoutABrokenPromise) {
  const std::vector<Input> inputs = corpus();
  ASSERT_FALSE(inputs.empty());
  for (const Input& input : inputs) {
    SCOPED_TRACE(input.name);
    run(input.bytes);
  }
}

TEST(Corpus, ReplaysMutatedWithoutABrokenPromise) {
  const std::vector<Input> inputs = corpus();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (int seed = 0; seed < kMutationsOfEach; ++seed) {
      std::mt19937_64 random(i * 1'000'003 + static_cast<std::uint64_t>(seed));
      run(mutated(inputs[i].bytes, inputs[random() % inputs.size()].bytes, random));
    }
  }
}

}  // namespace
