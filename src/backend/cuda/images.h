// Compiled device code, by unit: the shared kernels as nvcc built them and, for some codecs and
// formats, CUDA's own. Empty in a build without the toolkit.
#pragma once

#include <span>
#include <string_view>

#include "backend/gpu/launch.h"

namespace tg::backend::cuda {

struct Image {
  std::string_view name;  // "linear_18"
  const void* fatbin = nullptr;
  // Kernels of this image work on tiles of their own: what a work-group is and does.
  bool is_mma = false;
};

// The image that has the variant's kernels: the one of its codec or head, else the one for all;
// without a fatbin if this build has none.
Image image_of(const gpu::Variant& variant);

// Whether this build has device code.
bool has_images();

// How a kernel of an image is launched.
struct Geometry {
  i64 threads = gpu::kGroupItems;
  i64 each[2] = {0, 0};  // outputs per work-group along x and y; 0: as the launch says
};
Geometry geometry_of(const gpu::Launch& launch, const Image& image);

}  // namespace tg::backend::cuda
