#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "examples/denoise/image.h"
#include "model_runtime/model.h"

namespace penstock::examples {

// Decodes PNG or JPEG, told apart by their first bytes, to 8-bit grey or RGB: palettes and 16-bit
// samples are converted, transparency is laid on white, a photograph is turned upright as its EXIF
// says. Errors: kUnsupportedMedia for anything else; kTooLarge, before any pixel is decoded, for
// more than max_pixels; kBadInput for what is damaged.
runtime::ModelResult<Image> decodeImage(std::string_view bytes, std::size_t max_pixels);

// The formats by themselves, for decodeImage.
runtime::ModelResult<Image> decodePng(std::string_view bytes, std::size_t max_pixels);
runtime::ModelResult<Image> decodeJpeg(std::string_view bytes, std::size_t max_pixels);

// kInternal if libpng fails, which only lack of memory explains.
runtime::ModelResult<std::string> encodePng(const Image& image);

}  // namespace penstock::examples
