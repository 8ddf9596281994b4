#include "apps/data_directory.h"

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

Result<meter::Signer> make_signer(const DataDirectory& data, Random& random) {
  std::array<u8, 32> seed;
  random.fill(seed);
  std::string name = "meter-" + to_hex(sha256(seed)).substr(0, 8);
  TG_ASSIGN(meter::Signer signer, meter::Signer::create(name, seed));
  TG_TRY(write_file_durably(data.file("meter.seed"), as_bytes(name + " " + to_hex(seed) + "\n"),
                            kPrivate));
  return signer;
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

Result<meter::Signer> load_or_make_signer(const DataDirectory& data, Random& random) {
  std::string path = data.file("meter.seed");
  Result<std::string> text = read_file(path, kSmallFileBytesMax);
  if (!text.ok() && text.error().code != Code::kNotFound) return text.error();
  std::optional<Result<meter::Signer>> signer;
  if (!text.ok()) {
    signer = make_signer(data, random);
  } else {
    std::string line = trimmed(*text);
    std::size_t space = line.find(' ');
    Result<std::vector<u8>> seed =
        from_hex(space == std::string::npos ? "" : line.substr(space + 1));
    if (!seed.ok() || seed->size() != 32)
      return Error{Code::kCorrupt, path + " does not hold a meter's seed"};
    signer = meter::Signer::create(line.substr(0, space), *seed);
  }
  if (!signer->ok()) return signer->error();
  std::string key = meter::verifier_key((*signer)->name(), (*signer)->public_key()) + "\n";
  TG_TRY(write_file_durably(data.file("meter.pub"), as_bytes(key), kPublic));
  return std::move(*signer);
}

Result<meter::VerifierKey> load_verifier_key(const DataDirectory& data) {
  TG_ASSIGN(std::string text, read_file(data.file("meter.pub"), kSmallFileBytesMax));
  return meter::parse_verifier_key(trimmed(std::move(text)));
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
