#include "backend/opencl/binary_cache.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/hash.h"

namespace tg::backend::opencl {

Result<std::vector<u8>> read_binary(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return Error{Code::kNotFound, file};
  std::vector<u8> bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (bytes.size() <= sizeof(Digest)) return Error{Code::kCorrupt, file + ": too short"};
  Digest wanted{};
  std::memcpy(&wanted, bytes.data(), sizeof(Digest));
  bytes.erase(bytes.begin(), bytes.begin() + sizeof(Digest));
  if (sha256(bytes) != wanted) return Error{Code::kCorrupt, file + ": wrong hash"};
  return bytes;
}

void write_binary(const std::string& file, std::span<const u8> binary) {
  std::error_code ignored;
  std::filesystem::path path(file);
  std::filesystem::create_directories(path.parent_path(), ignored);
  std::string beside = file + "." + std::to_string(getpid());
  Digest digest = sha256(binary);
  std::ofstream out(beside, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&digest), sizeof(digest));
  out.write(reinterpret_cast<const char*>(binary.data()), std::ssize(binary));
  out.close();
  if (out) std::filesystem::rename(beside, path, ignored);
  if (!out || ignored) std::filesystem::remove(beside, ignored);
}

std::string cache_folder() {
  if (const char* named = std::getenv("TG_OPENCL_CACHE")) return named;
  if (const char* cache = std::getenv("XDG_CACHE_HOME"))
    return std::string(cache) + "/tokengrid/opencl";
  const char* home = std::getenv("HOME");
  return home ? std::string(home) + "/.cache/tokengrid/opencl" : "";
}

}  // namespace tg::backend::opencl
