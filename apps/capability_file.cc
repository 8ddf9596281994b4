#include "apps/capability_file.h"

#include <algorithm>

#include "env/disk.h"
#include "tlog/note.h"

namespace tg::apps {

namespace {

constexpr u64 kKeyBytesMax = 4'096;

Status check_signature(const std::string& path, const std::string& text,
                       const std::string& key_file) {
  TG_ASSIGN(std::string key_text, read_file(key_file, kKeyBytesMax));
  while (!key_text.empty() && (key_text.back() == '\n' || key_text.back() == ' '))
    key_text.pop_back();
  TG_ASSIGN(tlog::VerifierKey key, tlog::parse_verifier_key(key_text));
  TG_ASSIGN(tlog::Note note, tlog::parse_note(text));
  if (tlog::check_note(note, key) == tlog::NoteCheck::kSigned) return {};
  return Error{Code::kDenied, path + " is not signed by " + key.name};
}

}  // namespace

Result<fleet::Capability> read_capability(const std::string& path, const std::string& key_file) {
  TG_ASSIGN(std::string text, read_file(path, fleet::kCapabilityBytesMax));
  TG_ASSIGN(fleet::Capability capability, fleet::parse_capability(text));
  if (!key_file.empty()) TG_TRY(check_signature(path, text, key_file));
  return capability;
}

void take_capability(const fleet::Capability& capability, dispatch::PoolSupplier& supplier) {
  supplier.step = capability.step;
  f64 fastest = 0;
  for (const fleet::TierRate& tier : capability.tiers)
    fastest = std::max(fastest, tier.st_per_second);
  bool is_known = capability.joules_per_st > 0 && fastest > 0;
  if (!is_known) return;
  supplier.power.watts = capability.joules_per_st * fastest;
  supplier.power.is_measured = capability.energy_source != "modelled";
}

}  // namespace tg::apps
