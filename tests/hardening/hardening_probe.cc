// Makes one of the mistakes that a hardened build ends: the test builds it as the release preset
// builds everything.

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

namespace {

// How much is written, which the compiler must not know.
volatile std::size_t too_much = 64;

[[gnu::noinline]] int fillByTheLibrary(const char* from) {
  char array[8];
  std::memcpy(array, from, too_much);
  return array[too_much % 8];
}

[[gnu::noinline]] int fillByHand() {
  char array[8] = {};
  volatile char* at = array;
  for (std::size_t i = 0; i < too_much; ++i) {
    at[i] = 'x';
  }
  return array[0];
}

[[gnu::noinline]] int readBeyond() {
  const std::vector<int> numbers(3);
  return numbers[too_much];
}

// Larger than a guard page.
[[gnu::noinline, gnu::used]] int largeFrame(int value) {
  volatile char frame[64 * 1024];
  frame[0] = static_cast<char>(value);
  frame[sizeof frame - 1] = frame[0];
  return frame[sizeof frame - 1];
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mistake = argc > 1 ? argv[1] : "";
  static const char bytes[64] = {};
  int result = 0;
  if (mistake == "library") {
    result = fillByTheLibrary(bytes);
  } else if (mistake == "hand") {
    result = fillByHand();
  } else if (mistake == "container") {
    result = readBeyond();
  } else {
    result = largeFrame(argc);
  }
  std::printf("nothing stopped it: %d\n", result);
  return 0;
}
