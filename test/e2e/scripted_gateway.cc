// The real gateway over a model whose replies the client writes itself: what a user's message holds
// between <<say>> and <<end>> is the reply, the parts between <<next>> one per turn. So client
// libraries can be shown every kind of reply without a model that makes them. Beside it stand two
// models of random weights: "random", which says anything that it may, for structured output, and
// "encoder", which makes embeddings.
#include <csignal>
#include <cstdio>
#include <mutex>

#include "gateway/server.h"
#include "gateway/testing/fake_billing.h"
#include "gateway/testing/fake_model.h"
#include "gateway/testing/fake_supplier.h"
#include "model/model.h"
#include "model/synth.h"
#include "node/encoder.h"

namespace tg::gateway {
namespace {

struct Asked {
  std::string script;
  i64 turns = -1;  // Of the assistant, before the one that is asked for.
};

Asked read_prompt(const std::vector<TokenId>& prompt) {
  constexpr std::string_view kSay = "<<say>>";
  constexpr std::string_view kEnd = "<<end>>";
  std::string text;
  for (TokenId id : prompt) {
    if (id < 256) text.push_back(static_cast<char>(id));
    if (id == kImStart) text += "<|im_start|>";
  }
  Asked asked;
  const std::string turn = "<|im_start|>assistant";
  for (std::size_t at = text.find(turn); at != text.npos; at = text.find(turn, at + 1)) {
    ++asked.turns;
  }
  std::size_t from = text.rfind(kSay);
  if (from == text.npos) return asked;
  from += kSay.size();
  asked.script = text.substr(from, text.find(kEnd, from) - from);
  return asked;
}

std::string reply_to(const std::vector<TokenId>& prompt) {
  constexpr std::string_view kNext = "<<next>>";
  Asked asked = read_prompt(prompt);
  std::string rest = asked.script;
  for (i64 i = 0; i < asked.turns; ++i) {
    std::size_t at = rest.find(kNext);
    if (at == rest.npos) break;
    rest.erase(0, at + kNext.size());
  }
  return rest.substr(0, rest.find(kNext));
}

class ScriptedSupplier final : public fleet::Supplier {
 public:
  Status submit(fleet::SupplyRequest request) override {
    std::lock_guard lock(mutex_);
    Script script{.text = reply_to(request.prompt), .tokens_per_event = 3, .tail = {kImEnd}};
    if (script.text == "hang") {
      script.hang = true;
      script.tail.clear();
    }
    if (script.text.starts_with("fail")) script.reason = fleet::FinishReason::kError;
    if (script.text == "fail at once") script.text.clear();
    supplier_.set_script(std::move(script));
    return supplier_.submit(std::move(request));
  }
  void cancel(u64 id) override { supplier_.cancel(id); }
  fleet::SupplierLoad load() const override { return supplier_.load(); }

 private:
  std::mutex mutex_;
  FakeSupplier supplier_;
};

// A model of random weights over a vocabulary of bytes, written to the folder and read again.
struct RandomModel {
  std::unique_ptr<model::Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::shared_ptr<grammar::ModelGrammars> grammars;
  std::unique_ptr<fleet::Supplier> supplier;
  ServedModel served;
};

RandomModel make_random(const std::string& folder, const char* shape_name) {
  RandomModel out;
  model::SynthShape shape = model::find_synth_shape(shape_name).value();
  shape.context = 4'096;
  std::string path = folder + "/" + shape_name + ".gguf";
  Status made = model::synthesize({.path = path, .shape = shape, .codec = "q8_0"});
  TG_ASSERT(made.ok());
  out.model = model::Model::open(path, {}).value();
  out.tokenizer = std::make_shared<const Tokenizer>(Tokenizer::create(out.model->vocab()).value());
  out.grammars =
      std::make_shared<grammar::ModelGrammars>(std::make_shared<const grammar::TokenTable>(
          grammar::TokenTable::create(*out.tokenizer).value()));
  out.served.tokenizer = out.tokenizer;
  out.served.guard = std::make_shared<const ControlGuard>(*out.tokenizer);
  out.served.program = to_hex(out.model->program().id());
  out.served.grammars = out.grammars;
  return out;
}

node::EmbeddedOptions options_of(const RandomModel& random) {
  node::EmbeddedOptions options;
  options.threads = 1;
  options.kv_tokens = 16'384;
  options.grammars = random.grammars;
  return options;
}

// Tools, but no reasoning: random weights would think until their tokens are used up.
ChatTemplate thoughtless_template() {
  std::string source(tool_template().source());
  source.erase(source.find("{% if enable_thinking"));
  return ChatTemplate::parse(source).value();
}

void start_random(RandomModel& random, Clock& clock) {
  std::unique_ptr<node::EmbeddedSupplier> engine =
      node::EmbeddedSupplier::start(random.model->program(), random.model->weights(),
                                    options_of(random), clock)
          .value();
  random.served.id = "random";
  random.served.chat_template = thoughtless_template();
  random.served.context_max = engine->context_max();
  random.supplier = std::move(engine);
  random.served.supplier = random.supplier.get();
}

void start_encoder(RandomModel& random, Clock& clock) {
  std::unique_ptr<node::EncoderSupplier> encoder =
      node::EncoderSupplier::start(random.model->program(), random.model->weights(),
                                   options_of(random), clock)
          .value();
  random.served.id = "encoder";
  random.served.context_max = encoder->context_max();
  random.served.embedding_width = encoder->width();
  random.served.generates = false;
  random.supplier = std::move(encoder);
  random.served.supplier = random.supplier.get();
}

int serve(const std::string& folder) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  SystemClock clock;
  OsRandom random;
  ScriptedSupplier supplier;
  FakeBilling billing;
  std::unique_ptr<KeyStore> keys = KeyStore::open(folder, random).value();
  std::string key = keys->create({.name = "e2e", .account = "e2e"}, clock.now()).value().plaintext;
  std::vector<ServedModel> models;
  models.push_back(fake_model("scripted", &supplier));
  models.back().chat_template = tool_template();
  models.push_back(fake_model("plain", &supplier));
  RandomModel random_model = make_random(folder, "tiny-llama");
  start_random(random_model, clock);
  models.push_back(std::move(random_model.served));
  RandomModel encoder = make_random(folder, "tiny-bert");
  start_encoder(encoder, clock);
  models.push_back(std::move(encoder.served));
  ServerParts parts{.models = std::move(models),
                    .keys = std::move(keys),
                    .billing = billing.billing(),
                    .clock = clock,
                    .random = random,
                    .replies = ReplyBook::open(folder).value(),
                    .batches = BatchBook::open(folder).value()};
  std::unique_ptr<Server> server = Server::start({}, std::move(parts)).value();
  std::printf("key %s\nlistening on http://127.0.0.1:%d\n", key.c_str(), server->port());
  std::fflush(stdout);
  int received = 0;
  sigwait(&signals, &received);
  server->stop(1'000);
  return billing.has_violation() || billing.open_count() > 0 ? 1 : 0;
}

}  // namespace
}  // namespace tg::gateway

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  return tg::gateway::serve(argv[1]);
}
