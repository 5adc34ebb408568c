#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <jpeglib.h>

// After jpeglib.h, which it needs.
#include <jerror.h>

#include "examples/denoise/image_codec.h"
#include "examples/denoise/orientation.h"

namespace penstock::examples {
namespace {

using runtime::ErrorKind;
using runtime::modelFailure;
using runtime::ModelResult;

// A progressive image refines itself in scans, each as costly as the whole; nobody needs so many.
constexpr int kMostScans = 100;
constexpr unsigned kMostExifBytes = 65533;

// What happens in one decoding. libjpeg reports errors by calling back, and the callback must not
// return: it jumps out of libjpeg, over C frames only, into decode().
struct Decoding {
  jpeg_decompress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf failed;
  char message[JMSG_LENGTH_MAX];
  bool too_large;
};

Decoding& decodingOf(j_common_ptr jpeg) {
  return *static_cast<Decoding*>(jpeg->client_data);
}

[[noreturn]] void fail(j_common_ptr jpeg) {
  Decoding& decoding = decodingOf(jpeg);
  jpeg->err->format_message(jpeg, decoding.message);
  std::longjmp(decoding.failed, 1);
}

// Level -1 is a warning. Data that ends too soon is one for libjpeg, which fills up with grey.
void onMessage(j_common_ptr jpeg, int level) {
  const int code = jpeg->err->msg_code;
  if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER)) {
    fail(jpeg);
  }
}

void onProgress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number > kMostScans) {
    Decoding& decoding = decodingOf(jpeg);
    std::strcpy(decoding.message, "too many scans");
    std::longjmp(decoding.failed, 1);
  }
}

int orientationOf(const jpeg_decompress_struct& jpeg) {
  for (const jpeg_saved_marker_ptr* at = &jpeg.marker_list; *at != nullptr; at = &(*at)->next) {
    if ((*at)->marker == JPEG_APP0 + 1) {
      return exifOrientation({reinterpret_cast<const char*>((*at)->data), (*at)->data_length});
    }
  }
  return 1;
}

struct Release {
  jpeg_decompress_struct& jpeg;
  ~Release() { jpeg_destroy_decompress(&jpeg); }
};

// Has no object that a jump would leave undestroyed: image and orientation are the caller's. False:
// decoding.message says why.
bool decode(Decoding& decoding, std::string_view bytes, std::size_t max_pixels, Image& image,
            int& orientation) {
  jpeg_decompress_struct& jpeg = decoding.jpeg;
  if (setjmp(decoding.failed) != 0) {
    return false;
  }
  jpeg_create_decompress(&jpeg);
  jpeg.client_data = &decoding;
  jpeg.progress = &decoding.progress;
  jpeg_mem_src(&jpeg, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  jpeg_save_markers(&jpeg, JPEG_APP0 + 1, kMostExifBytes);
  jpeg_read_header(&jpeg, TRUE);
  if (jpeg.image_width > max_pixels / jpeg.image_height) {
    decoding.too_large = true;
    return false;
  }
  jpeg.out_color_space = jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&jpeg);
  orientation = orientationOf(jpeg);
  image.width = jpeg.output_width;
  image.height = jpeg.output_height;
  image.channels = static_cast<std::size_t>(jpeg.output_components);
  image.pixels.resize(image.rowBytes() * image.height);
  while (jpeg.output_scanline < jpeg.output_height) {
    JSAMPROW row = image.row(jpeg.output_scanline);
    jpeg_read_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_decompress(&jpeg);
  return true;
}

}  // namespace

ModelResult<Image> decodeJpeg(std::string_view bytes, std::size_t max_pixels) {
  Decoding decoding{};
  decoding.jpeg.err = jpeg_std_error(&decoding.errors);
  decoding.jpeg.client_data = &decoding;
  decoding.errors.error_exit = fail;
  decoding.errors.emit_message = onMessage;
  decoding.progress.progress_monitor = onProgress;
  Image image;
  int orientation = 1;
  const Release release{decoding.jpeg};
  const bool decoded = decode(decoding, bytes, max_pixels, image, orientation);
  if (decoding.too_large) {
    return modelFailure(ErrorKind::kTooLarge,
                        "an image of more than " + std::to_string(max_pixels) + " pixels");
  }
  if (!decoded) {
    return modelFailure(ErrorKind::kBadInput, std::string("damaged JPEG: ") + decoding.message);
  }
  return turnUpright(std::move(image), orientation);
}

}  // namespace penstock::examples
