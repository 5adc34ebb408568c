#pragma once

#include <string_view>

#include "examples/denoise/image.h"

namespace penstock::examples {

// Cameras store a picture as the sensor lay and note how to turn it (EXIF tag 0x0112, values 1 … 8;
// EXIF 2.32 §4.6.4). app1: the content of a JPEG's APP1 segment. 1, upright, if it says nothing.
int exifOrientation(std::string_view app1);

// The image as it is to be looked at; values other than 2 … 8 leave it as it is.
Image turnUpright(Image image, int orientation);

}  // namespace penstock::examples
