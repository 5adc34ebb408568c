#pragma once

#include "tests/gpu/table.h"

namespace penstock {

// The kernel of examples/matmul, with weights that are kept on the device, against its reference.
void checkMatmul(Table& table);
// The kernel of examples/denoise against the processor's reference, on random sizes and at the
// edges of its tiles; small: few and small ones, for a slow tool to watch.
void checkDenoise(Table& table, bool small);
// Too much memory is refused, with nothing begun, and what comes after runs.
void checkOutOfMemory(Table& table);
// Megapixels a second, and how far from what the device could do at most.
void timeDenoise(Table& table);

// A runtime with a model that only passes time on the device: whose kernels overlap, how long the
// device idles between two, how busy it is, and what the runtime costs.
void checkOverlap(Table& table);
void timeHandOver(Table& table);
void timeBusyShare(Table& table);
void timeRuntime(Table& table);

}  // namespace penstock
