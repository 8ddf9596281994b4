#include "apps/price_files.h"

#include "base/bytes.h"
#include "env/disk.h"

namespace tg::apps {

namespace {

constexpr u32 kPublic = 0644;

}  // namespace

Result<std::optional<market::RateBook>> load_rates(const std::vector<std::string>& files) {
  std::optional<market::RateBook> out;
  if (files.empty()) return out;
  std::vector<market::RateCard> cards;
  for (const std::string& file : files) {
    TG_ASSIGN(std::string text, read_file(file, market::kRateCardBytesMax));
    TG_ASSIGN(market::RateCard card, market::parse_rate_card_toml(text, file));
    cards.push_back(std::move(card));
  }
  TG_ASSIGN(market::RateBook book, market::RateBook::make(std::move(cards)));
  out = std::move(book);
  return out;
}

Status save_rates(const DataDirectory& data, const market::RateBook& rates) {
  TG_TRY(ensure_writable_directory(data.file("rates")));
  for (const market::RateCard& card : rates.cards()) {
    std::string path = data.file("rates/" + to_hex(market::digest(card)));
    TG_TRY(write_file_durably(path, as_bytes(market::to_text(card)), kPublic));
  }
  return {};
}

Status save_plans(const DataDirectory& data, const std::string& file) {
  TG_ASSIGN(std::string text, read_file(file, market::kCatalogueBytesMax));
  TG_ASSIGN([[maybe_unused]] std::vector<market::Plan> plans, market::parse_catalogue(text, file));
  return write_file_durably(data.file("plans.toml"), as_bytes(text), kPublic);
}

Result<std::vector<market::Plan>> load_plans(const DataDirectory& data) {
  std::string path = data.file("plans.toml");
  Result<std::string> text = read_file(path, market::kCatalogueBytesMax);
  if (!text.ok() && text.error().code == Code::kNotFound) return std::vector<market::Plan>{};
  if (!text.ok()) return text.error();
  return market::parse_catalogue(*text, path);
}

}  // namespace tg::apps
