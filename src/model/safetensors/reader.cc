// The form is checked by header.cc; here the sizes, and then the tensors against each other.
#include "model/safetensors/reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/checked.h"
#include "model/gguf/format.h"
#include "model/safetensors/header.h"

namespace tg::safetensors {
namespace {

using gguf::quote;

Error corrupt(std::string message) {
  return Error{Code::kCorrupt, "safetensors: " + std::move(message)};
}

Result<std::string_view> header_text(Reader& in) {
  TG_ASSIGN(u64 length, in.u64_le());
  if (length > kHeaderBytesMax)
    return Error{Code::kLimit, fmt::format("safetensors: header of {} bytes is over the limit of "
                                           "{}",
                                           length, kHeaderBytesMax)};
  TG_ASSIGN(std::span<const u8> raw, in.bytes(length));
  return as_text(raw);
}

Result<u64> stated_bytes(const HeaderEntry& entry) {
  u64 elements = 1;
  for (i64 dim : entry.dims) {
    std::optional<u64> product = checked_mul(elements, static_cast<u64>(dim));
    if (!product.has_value() || *product > kElementsMax)
      return Error{Code::kLimit, fmt::format("safetensors: tensor {} of {} is too large",
                                             quote(entry.name), gguf::dims_text(entry.dims))};
    elements = *product;
  }
  return elements * element_bytes(entry.dtype);
}

Status check_place(const HeaderEntry& entry, u64 data_bytes) {
  if (entry.begin > entry.end || entry.end > data_bytes)
    return corrupt(fmt::format("tensor {} is at bytes {} to {} of {}", quote(entry.name),
                               entry.begin, entry.end, data_bytes));
  TG_ASSIGN(u64 bytes, stated_bytes(entry));
  if (bytes == entry.end - entry.begin) return {};
  return corrupt(fmt::format("tensor {} has {} bytes, {}{} needs {}", quote(entry.name),
                             entry.end - entry.begin, name(entry.dtype),
                             gguf::dims_text(entry.dims), bytes));
}

// Sorted by place, each tensor must begin where the one before ends.
Status check_cover(const std::vector<HeaderEntry>& entries, u64 data_bytes) {
  std::vector<const HeaderEntry*> sorted;
  sorted.reserve(entries.size());
  for (const HeaderEntry& entry : entries) sorted.push_back(&entry);
  std::sort(sorted.begin(), sorted.end(), [](const HeaderEntry* a, const HeaderEntry* b) {
    return std::pair(a->begin, a->end) < std::pair(b->begin, b->end);
  });
  u64 end = 0;
  for (const HeaderEntry* entry : sorted) {
    if (entry->begin != end)
      return corrupt(fmt::format("tensor {} at byte {} {}, byte {} was next", quote(entry->name),
                                 entry->begin,
                                 entry->begin < end ? "overlaps another" : "leaves a hole", end));
    end = entry->end;
  }
  if (end == data_bytes) return {};
  return corrupt(fmt::format("{} bytes after the last tensor", data_bytes - end));
}

}  // namespace

Result<File> File::parse(std::span<const u8> bytes) {
  Reader in(bytes, "safetensors");
  TG_ASSIGN(std::string_view json, header_text(in));
  TG_ASSIGN(Header header, read_header(json));
  std::span<const u8> data = bytes.subspan(in.offset());
  for (const HeaderEntry& entry : header.tensors) TG_TRY(check_place(entry, data.size()));
  TG_TRY(check_cover(header.tensors, data.size()));
  File file;
  file.tensors_.reserve(header.tensors.size());
  for (HeaderEntry& entry : header.tensors)
    file.tensors_.push_back({.name = std::move(entry.name),
                             .dtype = entry.dtype,
                             .dims = std::move(entry.dims),
                             .data = data.subspan(entry.begin, entry.end - entry.begin)});
  for (std::size_t i = 0; i < file.tensors_.size(); ++i)
    if (!file.by_name_.emplace(file.tensors_[i].name, i).second)
      return corrupt("tensor " + quote(file.tensors_[i].name) + " appears twice");
  for (std::pair<std::string, std::string>& entry : header.metadata)
    if (!file.metadata_.insert(std::move(entry)).second)
      return corrupt("__metadata__ has a key twice");
  return file;
}

const Tensor* File::find(std::string_view name) const {
  std::map<std::string_view, std::size_t>::const_iterator found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace tg::safetensors
