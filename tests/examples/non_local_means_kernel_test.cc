// The kernel's own code, run on the processor: the 256 threads of a block are fibers that take
// turns at each barrier and each exchange within a warp, which is where they have to agree. It
// shows the arithmetic and the addressing; what the device makes of it is for gpu_check to show.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <ucontext.h>

#include "examples/denoise/device_filter.h"
#include "examples/denoise/non_local_means.h"
#include "examples/denoise/sample.h"

namespace emulated {

constexpr int kThreads = 256;
constexpr int kWarpSize = 32;

struct Index {
  unsigned x = 0;
  unsigned y = 0;
};

// A block's threads, each of which runs until it has to wait for the others.
class Block {
 public:
  explicit Block(std::function<void()> body) : body_(std::move(body)) {}

  void run() {
    running = this;
    for (int i = 0; i < kThreads; ++i) {
      stacks_[i].resize(64 * 1024);
      ::getcontext(&fibers_[i]);
      fibers_[i].uc_stack.ss_sp = stacks_[i].data();
      fibers_[i].uc_stack.ss_size = stacks_[i].size();
      fibers_[i].uc_link = &main_;
      ::makecontext(&fibers_[i], [] { running->begin(); }, 0);
    }
    for (bool some = true; some;) {
      some = false;
      for (current_ = 0; current_ < kThreads; ++current_) {
        if (!ended_[current_]) {
          some = true;
          ::swapcontext(&main_, &fibers_[current_]);
        }
      }
    }
  }

  // Every thread gets as far as this.
  void meet() { ::swapcontext(&fibers_[current_], &main_); }
  int exchange(int value, int from_lane) {
    values_[current_] = value;
    meet();
    const int got = values_[current_ / kWarpSize * kWarpSize + from_lane];
    meet();
    return got;
  }
  int current() const { return current_; }

  static Block* running;

 private:
  void begin() {
    body_();
    ended_[current_] = true;
  }

  const std::function<void()> body_;
  ucontext_t main_{};
  std::array<ucontext_t, kThreads> fibers_{};
  std::array<std::vector<char>, kThreads> stacks_;
  std::array<bool, kThreads> ended_{};
  std::array<int, kThreads> values_{};
  int current_ = 0;
};
Block* Block::running = nullptr;

Index block_index;
std::vector<unsigned> shared(100'000);

Index threadIndex() {
  const auto current = static_cast<unsigned>(Block::running->current());
  return {current % kWarpSize, current / kWarpSize};
}
int lane() {
  return Block::running->current() % kWarpSize;
}
int shuffleUp(int value, int by) {
  return Block::running->exchange(value, lane() >= by ? lane() - by : lane());
}
int shuffleDown(int value, int by) {
  return Block::running->exchange(value, lane() + by < kWarpSize ? lane() + by : lane());
}
unsigned absoluteDifference(unsigned a, unsigned b) {
  unsigned result = 0;
  for (int byte = 0; byte < 4; ++byte) {
    const int d =
        static_cast<int>(a >> (8 * byte) & 0xff) - static_cast<int>(b >> (8 * byte) & 0xff);
    result |= static_cast<unsigned>(std::abs(d)) << (8 * byte);
  }
  return result;
}
unsigned dotProduct(unsigned a, unsigned b, unsigned sum) {
  for (int byte = 0; byte < 4; ++byte) {
    sum += (a >> (8 * byte) & 0xff) * (b >> (8 * byte) & 0xff);
  }
  return sum;
}

}  // namespace emulated

// The words of CUDA that the kernel uses.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#define __device__
#define __global__
#define __launch_bounds__(threads)
#define threadIdx (::emulated::threadIndex())
#define blockIdx (::emulated::block_index)
#define __syncthreads() ::emulated::Block::running->meet()
#define __shfl_up_sync(mask, value, by) (static_cast<void>(mask), ::emulated::shuffleUp(value, by))
#define __shfl_down_sync(mask, value, by) \
  (static_cast<void>(mask), ::emulated::shuffleDown(value, by))
#define __vabsdiffu4(a, b) ::emulated::absoluteDifference(a, b)
#define __dp4a(a, b, sum) ::emulated::dotProduct(a, b, sum)
#define PENSTOCK_SHARED_TILE unsigned* const tile = ::emulated::shared.data()
using std::min;
#include "examples/denoise/non_local_means.cuh"
#pragma GCC diagnostic pop

namespace penstock::examples {
namespace {

// Blocks run in any order, so a pixel that two of them write shows in one of these.
enum class Order : std::uint8_t { kForwards, kBackwards };

template <int kPatch>
void runKernel(const KernelImage& image, const KernelWeights& weights, Order order) {
  constexpr int kColumns = kWarp - 2 * kPatch;
  const int across = (image.width + kColumns - 1) / kColumns;
  for (int y = 0; y * kTileRows < image.height; ++y) {
    for (int i = 0; i < across; ++i) {
      const int x = order == Order::kForwards ? i : across - 1 - i;
      emulated::block_index = {static_cast<unsigned>(x), static_cast<unsigned>(y)};
      auto block = std::make_unique<emulated::Block>([&] {
        if (image.channels == 3) {
          nonLocalMeans<kPatch, 3>(image, weights);
        } else {
          nonLocalMeans<kPatch, 1>(image, weights);
        }
      });
      block->run();
    }
  }
}

Image cut(const Image& from, std::size_t width, std::size_t height, std::size_t channels) {
  Image image{.width = width, .height = height, .channels = channels, .pixels = {}};
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      for (std::size_t c = 0; c < channels; ++c) {
        image.pixels.push_back(from.row(y + 90)[(x + 30) * 3 + c]);
      }
    }
  }
  return image;
}

template <int kPatch>
void expectLikeTheReference(std::size_t width, std::size_t height, std::size_t channels,
                            std::size_t search_radius, Order order) {
  SCOPED_TRACE(testing::Message() << width << " × " << height << " × " << channels << ", patch "
                                  << kPatch << ", search " << search_radius);
  const Image noisy = withNoise(cut(sampleScene(), width, height, channels), 20, 7);
  const NonLocalMeans parameters{
      .search_radius = search_radius, .patch_radius = kPatch, .sigma = 20};
  const Image wanted = denoise(noisy, parameters, [] { return false; });
  std::vector<std::uint8_t> got(noisy.pixels.size());
  runKernel<kPatch>({.in = noisy.pixels.data(),
                     .out = got.data(),
                     .width = static_cast<int>(width),
                     .height = static_cast<int>(height),
                     .channels = static_cast<int>(channels)},
                    kernelWeights(parameters, channels, 20), order);
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], wanted.pixels[i], 1) << "at " << i;
  }
}

TEST(NonLocalMeansKernel, IsLikeTheReferenceOnAnySize) {
  expectLikeTheReference<2>(1, 1, 3, 2, Order::kBackwards);
  expectLikeTheReference<2>(1, 90, 3, 2, Order::kBackwards);
  expectLikeTheReference<2>(90, 1, 1, 2, Order::kBackwards);
  expectLikeTheReference<2>(27, 63, 1, 2, Order::kBackwards);
  expectLikeTheReference<2>(28, 64, 3, 2, Order::kBackwards);  // one block exactly
  expectLikeTheReference<2>(29, 65, 1, 2, Order::kBackwards);  // and one more each way
  expectLikeTheReference<2>(70, 40, 3, 4, Order::kBackwards);
  expectLikeTheReference<1>(5, 90, 1, 7, Order::kBackwards);  // narrower than the search
}

TEST(NonLocalMeansKernel, IsLikeTheReferenceWithEveryPatch) {
  expectLikeTheReference<0>(40, 20, 3, 2, Order::kForwards);
  expectLikeTheReference<1>(40, 20, 3, 2, Order::kForwards);
  expectLikeTheReference<3>(40, 20, 1, 2, Order::kForwards);
  expectLikeTheReference<4>(40, 20, 3, 1, Order::kForwards);
  expectLikeTheReference<5>(40, 20, 1, 2, Order::kForwards);
}

}  // namespace
}  // namespace penstock::examples
