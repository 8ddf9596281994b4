#include "gateway/batch/multipart.h"

#include <algorithm>

namespace tg::gateway {
namespace {

constexpr std::size_t kBoundaryBytesMax = 70;  // RFC 2046

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return out;
}

// The value of `name` in "type; a=b; name=\"c d\""; "" if it is not there.
std::string parameter(std::string_view text, std::string_view name) {
  std::size_t at = text.find(';');
  while (at != text.npos) {
    ++at;
    while (at < text.size() && text[at] == ' ') ++at;
    std::size_t equals = text.find('=', at);
    if (equals == text.npos) return "";
    bool is_it = lower(text.substr(at, equals - at)) == name;
    std::string value;
    at = equals + 1;
    if (at < text.size() && text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] == '\\' && at + 1 < text.size()) ++at;
        value.push_back(text[at]);
      }
      at = text.find(';', at);
    } else {
      std::size_t end = std::min(text.find(';', at), text.size());
      value = text.substr(at, end - at);
      while (value.ends_with(' ')) value.pop_back();
      at = end == text.size() ? text.npos : end;
    }
    if (is_it) return value;
  }
  return "";
}

Result<FormPart> parse_part(std::string_view text) {
  std::size_t end = text.starts_with("\r\n") ? 0 : text.find("\r\n\r\n");
  if (end == text.npos) return Error{Code::kInvalid, "a part of the form has no header"};
  std::string_view head = text.substr(0, end);
  FormPart part{.content = text.substr(end == 0 ? 2 : end + 4)};
  while (!head.empty()) {
    std::size_t line_end = std::min(head.find("\r\n"), head.size());
    std::string_view line = head.substr(0, line_end);
    head.remove_prefix(std::min(line_end + 2, head.size()));
    std::size_t colon = line.find(':');
    if (colon == line.npos || lower(line.substr(0, colon)) != "content-disposition") continue;
    part.name = parameter(line.substr(colon + 1), "name");
    part.filename = parameter(line.substr(colon + 1), "filename");
  }
  if (part.name.empty()) return Error{Code::kInvalid, "a part of the form has no name"};
  return part;
}

}  // namespace

Result<std::vector<FormPart>> parse_form(std::string_view content_type, std::string_view body) {
  std::string type = lower(content_type.substr(0, content_type.find(';')));
  if (!type.starts_with("multipart/form-data"))
    return Error{Code::kInvalid, "content-type must be multipart/form-data"};
  std::string boundary = parameter(content_type, "boundary");
  if (boundary.empty() || boundary.size() > kBoundaryBytesMax)
    return Error{Code::kInvalid, "multipart/form-data without a boundary of 1 to 70 characters"};
  std::string mark = "--" + boundary;
  std::vector<FormPart> parts;
  if (!body.starts_with(mark)) return Error{Code::kInvalid, "the form has no first boundary"};
  body.remove_prefix(mark.size());
  mark.insert(0, "\r\n");
  while (!body.starts_with("--")) {
    if (!body.starts_with("\r\n")) return Error{Code::kInvalid, "a boundary is no line"};
    body.remove_prefix(2);
    std::size_t end = body.find(mark);
    if (end == body.npos) return Error{Code::kInvalid, "the form has no last boundary"};
    if (parts.size() == kFormPartsMax) return Error{Code::kLimit, "the form has too many parts"};
    TG_ASSIGN(FormPart part, parse_part(body.substr(0, end)));
    parts.push_back(std::move(part));
    body.remove_prefix(end + mark.size());
  }
  return parts;
}

}  // namespace tg::gateway
