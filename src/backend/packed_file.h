// A weight arena as a backend packed it, kept in a file: the next start reads it at the speed of
// the page cache instead of packing again. The payload begins on a page boundary and is the arena's
// bytes as they lie in memory, so that the file can be mapped as well as read; it is read, because
// huge pages make every later step faster. The file says nothing of its own truth: its key names
// what was packed how, and each chunk has a checksum.
#pragma once

#include <span>
#include <string>

#include "base/hash.h"
#include "base/result.h"

namespace tg::backend {

// Fills the arena if the file holds exactly the one of `key`. False, with the reason in the log
// unless there is no file: the arena may then hold anything.
bool read_packed(const std::string& path, const Digest& key, std::span<u8> arena, i32 threads);

// Writes beside `path` and renames over it. A power cut may lose the file or leave one that
// read_packed() refuses, never one that it wrongly takes.
Status write_packed(const std::string& path, const Digest& key, std::span<const u8> arena);

}  // namespace tg::backend
