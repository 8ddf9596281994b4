// Every policy against its table in cases/: suppliers, a request, and who must get it.
#include <gtest/gtest.h>

#include <charconv>
#include <fstream>
#include <map>
#include <sstream>

#include "dispatch/choose.h"

namespace tg::dispatch {
namespace {

using Fields = std::map<std::string, std::string, std::less<>>;

struct Case {
  std::string name;
  std::vector<Fields> suppliers;
  Fields request;
  std::string expected;
};

Fields fields_of(std::istringstream& line) {
  Fields fields;
  std::string word;
  while (line >> word) {
    std::size_t equals = word.find('=');
    EXPECT_NE(equals, std::string::npos) << word;
    fields[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return fields;
}

// "case NAME", "supplier KEY=VALUE...", "request KEY=VALUE...", "expect 0|1,2|hold 3|refuse".
std::vector<Case> read_cases(const std::string& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in.good()) << path;
  std::vector<Case> cases;
  for (std::string text; std::getline(in, text);) {
    std::istringstream line(text);
    std::string word;
    if (!(line >> word) || word[0] == '#') continue;
    if (word == "case") {
      cases.push_back({.name = text.substr(5)});
    } else if (word == "supplier") {
      cases.back().suppliers.push_back(fields_of(line));
    } else if (word == "request") {
      cases.back().request = fields_of(line);
    } else if (word == "expect") {
      std::getline(line >> std::ws, cases.back().expected);
    } else {
      ADD_FAILURE() << path << ": " << text;
    }
  }
  return cases;
}

// Takes the fields one by one, so that a misspelt one is noticed.
class Reader {
 public:
  explicit Reader(Fields fields) : fields_(std::move(fields)) {}
  ~Reader() {
    for (const auto& [key, value] : fields_) ADD_FAILURE() << "unknown field " << key;
  }

  f64 real(std::string_view key, f64 fallback) {
    std::string text = word(key, "");
    return text.empty() ? fallback : std::stod(text);
  }
  i64 number(std::string_view key, i64 fallback) {
    return static_cast<i64>(real(key, static_cast<f64>(fallback)));
  }
  std::string word(std::string_view key, std::string fallback) {
    auto found = fields_.find(key);
    if (found == fields_.end()) return fallback;
    std::string text = found->second;
    fields_.erase(found);
    return text;
  }
  std::vector<u32> list(std::string_view key) {
    std::vector<u32> out;
    std::istringstream in(word(key, ""));
    for (std::string item; std::getline(in, item, ',');) {
      out.push_back(static_cast<u32>(std::stoul(item)));
    }
    return out;
  }

 private:
  Fields fields_;
};

// Speeds in ms per 1,000 prompt tokens; times in ms.
SupplierView supplier_of(const Fields& fields) {
  Reader r(fields);
  SupplierView v;
  std::string health = r.word("health", "up");
  for (Health h : {Health::kUp, Health::kSuspect, Health::kDraining, Health::kDown}) {
    if (health_name(h) == health) v.health = h;
  }
  v.step = {.ns_per_step = r.real("step_ms", 10) * 1e6,
            .ns_per_token = r.real("prompt_ms", 50) * 1e3,
            .ns_per_row = 1e4,
            .ns_per_key = 10,
            .error = 0.1};
  v.zone = static_cast<u16>(r.number("zone", 0));
  v.rtt_ns = r.number("rtt_ms", 0) * 1'000'000;
  v.running = r.number("running", 0);
  v.waiting = r.number("waiting", 0);
  v.prompt_tokens = r.number("prompts", 0);
  v.output_left = r.number("left", v.running * 100);
  v.keys = r.number("keys", 0);
  v.keys_promised = r.number("promised", v.keys);
  v.keys_total = r.number("keys_total", 1'000'000);
  v.running_max = r.number("running_max", 256);
  v.context_max = r.number("context_max", 0);
  v.prompts_done_ns = r.number("busy_ms", 0) * 1'000'000;
  v.price = {r.real("price_in", 0), r.real("price_cached", 0), r.real("price_out", 0)};
  v.power = {.watts = r.real("watts", 0),
             .grams_per_joule = r.real("carbon", 0),
             .price_per_joule = r.real("price_joule", 0)};
  return v;
}

std::string answer_of(Policy policy, const Case& c) {
  PoolView pool;
  for (const Fields& fields : c.suppliers) pool.add(supplier_of(fields));
  Reader r(c.request);
  std::vector<u32> cached = r.list("cached");
  std::vector<u32> allow = r.list("allow");
  std::vector<u32> deny = r.list("deny");
  RouteRequest request{
      .prompt_tokens = r.number("prompt", 1000),
      .output_tokens = r.number("output", 200),
      .session = static_cast<u64>(r.number("session", 0)),
      .waited_ns = r.number("waited_ms", 0) * 1'000'000,
      .wishes = {.price_max = r.real("price_max", 0),
                 .ttft_target_ns = r.number("ttft_ms", 0) * 1'000'000,
                 .tpot_target_ns = static_cast<i64>(r.real("tpot_ms", 0) * 1e6),
                 .energy_weight = r.real("energy_weight", 0),
                 .carbon_weight = r.real("carbon_weight", 0),
                 .zones = static_cast<u64>(r.number("zones", 0)),
                 .allow = allow,
                 .deny = deny},
  };
  RouteSettings settings;
  settings.hold_ns = r.number("hold_ms", 0) * 1'000'000;
  Moment moment{.sequence = static_cast<u64>(r.number("sequence", 0)),
                .random = static_cast<u64>(r.number("random", 1))};
  Choice choice = choose(policy, request, pool, {cached, r.number("common", 0)}, settings, moment);
  if (choice.verdict == Verdict::kSend) return std::to_string(choice.supplier);
  if (choice.verdict == Verdict::kHold) return "hold " + std::to_string(choice.supplier);
  std::string out = "refuse";
  for (std::size_t i = 1; i < choice.excluded.size(); ++i) {
    if (choice.excluded[i] > 0) {
      out += " " + std::string(excluded_name(static_cast<Excluded>(i))) + "=" +
             std::to_string(choice.excluded[i]);
    }
  }
  return out;
}

class Cases : public testing::TestWithParam<u8> {};

TEST_P(Cases, ChooseAsTheTableSays) {
  Policy policy = static_cast<Policy>(GetParam());
  std::string path = TG_SOURCE_DIR "/src/dispatch/cases/";
  path.append(policy_name(policy)).append(".txt");
  std::vector<Case> cases = read_cases(path);
  EXPECT_GE(cases.size(), 3u) << path;
  for (const Case& c : cases) EXPECT_EQ(answer_of(policy, c), c.expected) << path << ": " << c.name;
}

std::string test_name(const testing::TestParamInfo<u8>& info) {
  std::string name(policy_name(static_cast<Policy>(info.param)));
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

INSTANTIATE_TEST_SUITE_P(Policies, Cases, testing::Range(u8{0}, static_cast<u8>(Policy::kCount)),
                         test_name);

}  // namespace
}  // namespace tg::dispatch
