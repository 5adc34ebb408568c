#include <new>

#include <png.h>

#include "examples/denoise/image_codec.h"

namespace penstock::examples {
namespace {

using runtime::ErrorKind;
using runtime::modelFailure;
using runtime::ModelResult;

// libpng's simplified interface: it catches libpng's long jumps inside, so that none crosses our
// frames.
class PngImage {
 public:
  PngImage() { image.version = PNG_IMAGE_VERSION; }
  ~PngImage() { png_image_free(&image); }
  PngImage(const PngImage&) = delete;
  PngImage& operator=(const PngImage&) = delete;

  png_image image{};
};

}  // namespace

ModelResult<Image> decodePng(std::string_view bytes, std::size_t max_pixels) {
  PngImage png;
  if (png_image_begin_read_from_memory(&png.image, bytes.data(), bytes.size()) == 0) {
    return modelFailure(ErrorKind::kBadInput, std::string("damaged PNG: ") + png.image.message);
  }
  const std::size_t width = png.image.width;
  const std::size_t height = png.image.height;
  if (width > max_pixels / height) {
    return modelFailure(ErrorKind::kTooLarge,
                        "an image of more than " + std::to_string(max_pixels) + " pixels");
  }
  const bool colour = (png.image.format & PNG_FORMAT_FLAG_COLOR) != 0;
  png.image.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  Image image{.width = width, .height = height, .channels = colour ? 3u : 1u, .pixels = {}};
  image.pixels.resize(image.rowBytes() * height);
  const png_color white{.red = 255, .green = 255, .blue = 255};
  // Row stride 0: rows without padding.
  if (png_image_finish_read(&png.image, &white, image.pixels.data(), 0, nullptr) == 0) {
    return modelFailure(ErrorKind::kBadInput, std::string("damaged PNG: ") + png.image.message);
  }
  return image;
}

ModelResult<std::string> encodePng(const Image& image) {
  PngImage png;
  png.image.width = static_cast<png_uint_32>(image.width);
  png.image.height = static_cast<png_uint_32>(image.height);
  png.image.format = image.channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  // A third of the time for a few per cent more bytes.
  png.image.flags = PNG_IMAGE_FLAG_FAST;
  // One pass into room for the worst case: asking for the size first would compress twice.
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png.image);
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&png.image, bytes.data(), &size, 0, image.pixels.data(), 0,
                                nullptr) == 0) {
    return modelFailure(ErrorKind::kInternal,
                        std::string("cannot write PNG: ") + png.image.message);
  }
  bytes.resize(size);
  bytes.shrink_to_fit();
  return bytes;
}

}  // namespace penstock::examples
