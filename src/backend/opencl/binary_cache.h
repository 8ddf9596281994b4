// Compiled programs on disk: a file is the SHA-256 of what follows and the driver's binary, written
// beside its place and renamed into it, so that readers see all of it or nothing.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace tg::backend::opencl {

// kNotFound without the file, kCorrupt if its hash is another.
Result<std::vector<u8>> read_binary(const std::string& file);
// Makes the folder if needed. What cannot be written is not kept: no error.
void write_binary(const std::string& file, std::span<const u8> binary);

// $TG_OPENCL_CACHE, or tokengrid/opencl in the user's cache folder; empty if there is neither, or
// if the variable is set to nothing: no cache.
std::string cache_folder();

}  // namespace tg::backend::opencl
