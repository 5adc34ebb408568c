#include "examples/denoise/image_codec.h"

namespace penstock::examples {

runtime::ModelResult<Image> decodeImage(std::string_view bytes, std::size_t max_pixels) {
  if (bytes.starts_with("\x89PNG\r\n\x1a\n")) {
    return decodePng(bytes, max_pixels);
  }
  if (bytes.starts_with("\xff\xd8\xff")) {
    return decodeJpeg(bytes, max_pixels);
  }
  return runtime::modelFailure(runtime::ErrorKind::kUnsupportedMedia,
                               "expected a PNG or JPEG image");
}

}  // namespace penstock::examples
