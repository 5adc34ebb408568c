// Makes sample.png, the image in the README's first request: penstock-make-sample FILE

#include <cstdio>
#include <fstream>

#include "examples/denoise/image_codec.h"
#include "examples/denoise/sample.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FILE\n", argv[0]);
    return 2;
  }
  const auto png = penstock::examples::encodePng(penstock::examples::sampleImage());
  std::ofstream file(argv[1], std::ios::binary);
  if (!png.has_value() || !(file << *png).flush()) {
    std::fprintf(stderr, "cannot write %s\n", argv[1]);
    return 1;
  }
  return 0;
}
