#include "apps/data_directory.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/bytes.h"
#include "env/disk.h"

namespace tg::apps {

namespace {

constexpr u64 kSmallFileBytesMax = 4'096;
constexpr u64 kProgramBytesMax = 16 * 1024 * 1024;
constexpr u32 kPrivate = 0600;
constexpr u32 kPublic = 0644;

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

Result<tlog::NoteSigner> make_signer(const DataDirectory& data, Random& random, tlog::Suite suite) {
  std::array<u8, 32> seed;
  random.fill(seed);
  std::string name = "meter-" + to_hex(sha256(seed)).substr(0, 8);
  TG_ASSIGN(tlog::NoteSigner signer, tlog::NoteSigner::create(name, suite, seed));
  std::string line = name + " " + to_hex(seed) + " " + std::string(tlog::name(suite)) + "\n";
  TG_TRY(write_file_durably(data.file("meter.seed"), as_bytes(line), kPrivate));
  return signer;
}

// "<name> <seed, hex>[ <suite>]"; without a suite it is the first one there was.
Result<tlog::NoteSigner> parse_signer(std::string_view line, const std::string& path) {
  Error corrupt{Code::kCorrupt, path + " does not hold a meter's seed"};
  std::size_t first = line.find(' ');
  if (first == std::string_view::npos) return corrupt;
  std::size_t second = std::min(line.find(' ', first + 1), line.size());
  std::string_view suite_name = "ed25519-sha256";
  if (second < line.size()) suite_name = line.substr(second + 1);
  std::optional<tlog::Suite> suite = tlog::suite_by_name(suite_name);
  Result<std::vector<u8>> seed = from_hex(line.substr(first + 1, second - first - 1));
  if (!suite || !seed.ok() || seed->size() != 32) return corrupt;
  return tlog::NoteSigner::create(std::string(line.substr(0, first)), *suite, *seed);
}

}  // namespace

Result<DataDirectory> open_data_directory(const std::string& path) {
  TG_TRY(ensure_writable_directory(path));
  TG_TRY(ensure_writable_directory(path + "/programs"));
  return DataDirectory{path};
}

Result<DataDirectory> existing_data_directory(const std::string& path) {
  std::error_code failure;
  if (!std::filesystem::is_directory(path, failure)) {
    return Error{Code::kNotFound,
                 "no data directory at " + path + " (use --data, or start a server once)"};
  }
  return DataDirectory{path};
}

Result<tlog::NoteSigner> load_or_make_signer(const DataDirectory& data, Random& random,
                                             tlog::Suite suite) {
  std::string path = data.file("meter.seed");
  Result<std::string> text = read_file(path, kSmallFileBytesMax);
  if (!text.ok() && text.error().code != Code::kNotFound) return text.error();
  TG_ASSIGN(tlog::NoteSigner signer,
            text.ok() ? parse_signer(trimmed(*text), path) : make_signer(data, random, suite));
  std::string key = tlog::to_text(signer.verifier()) + "\n";
  TG_TRY(write_file_durably(data.file("meter.pub"), as_bytes(key), kPublic));
  return signer;
}

Result<tlog::VerifierKey> load_verifier_key(const DataDirectory& data) {
  TG_ASSIGN(std::string text, read_file(data.file("meter.pub"), kSmallFileBytesMax));
  return tlog::parse_verifier_key(trimmed(std::move(text)));
}

Status save_program(const DataDirectory& data, const isa::VerifiedProgram& program) {
  std::string path = data.file("programs/" + to_hex(program.id()) + ".tgp");
  if (std::filesystem::exists(path)) return {};
  return write_file_durably(path, program.bytes(), kPublic);
}

Result<isa::VerifiedProgram> load_program(const DataDirectory& data, const Digest& id) {
  std::string path = data.file("programs/" + to_hex(id) + ".tgp");
  TG_ASSIGN(std::string bytes, read_file(path, kProgramBytesMax));
  TG_ASSIGN(isa::VerifiedProgram program, isa::load(as_bytes(bytes)));
  if (program.id() != id)
    return Error{Code::kCorrupt, path + " holds program " + to_hex(program.id())};
  return program;
}

}  // namespace tg::apps
