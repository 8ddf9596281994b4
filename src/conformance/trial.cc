#include "conformance/trial.h"

#include <fmt/format.h>

#include <algorithm>

#include "backend/coverage.h"
#include "base/assert.h"
#include "conformance/allocation_watch.h"
#include "isa/assemble.h"

namespace tg::conformance {

namespace {

constexpr backend::ExecutorLimits kLimits = {.tokens_max = kTokensMax,
                                             .sequences_max = kSequencesMax,
                                             .rows_max = kRowsMax,
                                             .context_max = kContextMax,
                                             .kv_pages = kCachePages};

Result<std::unique_ptr<isa::VerifiedProgram>> assembled(const std::string& text) {
  TG_ASSIGN(isa::Program program, isa::assemble(text));
  TG_ASSIGN(isa::VerifiedProgram verified, isa::verify(std::move(program)));
  return std::make_unique<isa::VerifiedProgram>(std::move(verified));
}

const isa::FlatInstruction& op_under_test(const isa::FlatProgram& flat, isa::Opcode op) {
  std::vector<isa::FlatInstruction>::const_iterator found =
      std::find_if(flat.code.begin(), flat.code.end(),
                   [op](const isa::FlatInstruction& i) { return i.op == op; });
  TG_ASSERT(found != flat.code.end());
  return *found;
}

u8 accumulator_of(const isa::FlatInstruction& op) {
  if (isa::find_attribute(isa::info(op.op), isa::AttributeKey::kAcc) == nullptr) return TG_ANY;
  switch (static_cast<isa::Accumulate>(op.word(isa::AttributeKey::kAcc))) {
    case isa::Accumulate::kI32: return static_cast<u8>(isa::DType::kI32);
    case isa::Accumulate::kF16Chunked: return static_cast<u8>(isa::DType::kF16);
    default: return static_cast<u8>(isa::DType::kF32);
  }
}

Signature signature_of(const isa::Program& program, const isa::FlatProgram& flat,
                       const isa::FlatInstruction& op) {
  Signature s{.version = isa::info(op.op).version, .acc = accumulator_of(op)};
  for (const isa::FlatOperand& operand : op.in) {
    if (operand.kind == isa::OperandKind::kWeight && s.w == TG_ANY) {
      s.w = static_cast<u8>(program.weights[operand.index].codec);
    }
    if (operand.kind == isa::OperandKind::kValue && s.x == TG_ANY) {
      s.x = static_cast<u8>(flat.values[operand.index].dtype);
    }
    if (operand.kind == isa::OperandKind::kKv) {
      s.kv = static_cast<u8>(program.kv[operand.index].format);
    }
  }
  if (!op.out.empty()) s.y = static_cast<u8>(flat.values[op.out[0]].dtype);
  return s;
}

}  // namespace

Result<Claims> read_claims(const backend::Target& target) {
  watch_before_driver();
  TG_ASSIGN(std::unique_ptr<backend::Device> device,
            backend::Device::open(target.library, target.device));
  watch_after_driver();
  Claims claims{.target = target,
                .device = device->props().name,
                .vendor = device->table().vendor,
                .backend = device->table().name,
                .version = device->table().version};
  const tg_row* rows = nullptr;
  u32 count = 0;
  TG_TRY(device->check(device->table().rows(device->handle(), &rows, &count), "rows"));
  for (u32 i = 0; i < count; ++i) {
    if (rows->size < sizeof(tg_row)) return Error{Code::kInvalid, "backend: short capability row"};
    const u8* at = reinterpret_cast<const u8*>(rows) + std::size_t{i} * rows->size;
    claims.rows.push_back(*reinterpret_cast<const tg_row*>(at));
  }
  return claims;
}

Result<std::unique_ptr<Trial>> Trial::make(const Claims& claims, const Family& family,
                                           Generator generator) {
  std::unique_ptr<Trial> trial(new Trial(claims, family));
  Status prepared = trial->prepare(generator);
  if (!prepared.ok()) {
    return Error{prepared.error().code, "case " + family.label + ": " + prepared.error().message};
  }
  return trial;
}

Status Trial::prepare(Generator generator) {
  TG_ASSIGN(program_, assembled(family_.text));
  TG_ASSIGN(flat_, program_->flatten("main"));
  const isa::Program& program = program_->program();
  signature_ = signature_of(program, flat_, op_under_test(flat_, family_.op));
  find_claim();
  if (!claim_) return {};
  data_ = std::make_unique<Data>(
      program, DataSpec{.label = family_.label, .generator = generator, .span = family_.span});
  TG_ASSIGN(golden_, isa::Interpreter::make(*program_, data_->table(), isa::Precision::kGolden,
                                            kCachePages));
  TG_ASSIGN(naive_, isa::Interpreter::make(*program_, data_->table(), isa::Precision::kSameType,
                                           kCachePages));
  if (!family_.magnitude_text.empty()) {
    TG_ASSIGN(twin_, assembled(family_.magnitude_text));
    twin_data_ = std::make_unique<Data>(Data::absolute(twin_->program(), program, *data_));
    TG_ASSIGN(magnitude_, isa::Interpreter::make(*twin_, twin_data_->table(),
                                                 isa::Precision::kGolden, kCachePages));
  }
  Result<std::unique_ptr<backend::Executor>> bound = bind(0);
  if (bound) {
    executor_ = std::move(bound).value();
  } else {
    refusal_ = "claimed, then refused: " + bound.error().message;
  }
  return {};
}

// The row is found by asking for the op alone; placement needs every op of the program.
void Trial::find_claim() {
  const backend::CoverageLimits limits{.tokens = kTokensMax, .context = kContextMax};
  Status all = backend::check_coverage(program_->program(), flat_, claims_.rows, limits);
  if (!all.ok()) {
    not_claimed_ = all.error().message;
    return;
  }
  isa::FlatProgram alone = flat_;
  alone.code = {op_under_test(flat_, family_.op)};
  for (const tg_row& row : claims_.rows) {
    if (!backend::check_coverage(program_->program(), alone, {&row, 1}, limits).ok()) continue;
    claim_ = row;
    return;
  }
}

Result<std::unique_ptr<backend::Executor>> Trial::bind(i32 threads) const {
  backend::ExecutorLimits limits = kLimits;
  limits.threads = threads;
  return backend::bind_executor(claims_.target, *program_, data_->table(), limits);
}

Layout Trial::layout() const {
  const std::vector<isa::KvDecl>& caches = program_->program().kv;
  return {.page_tokens = caches.empty() ? 16 : i64{caches[0].page_tokens},
          .vocabulary = kTableRows,
          .seed = seed_of(family_.label),
          .samples = family_.takes_params,
          .trees = family_.has_trees,
          .keeps_chunks = family_.keeps_chunks};
}

// By row: sum |x w| of the products, or the largest |argument| of the functions.
std::vector<f64> Trial::magnitudes(const Step& step) {
  std::vector<f64> out;
  if (magnitude_) {
    Result<std::vector<isa::Tensor>> sums = magnitude_->run(step.reference());
    if (sums) out = sums.value()[0].data;
  } else if (family_.cls == ErrorClass::kE2) {
    // A rotation mixes two channels, so that the row's largest number stands for both.
    bool by_column = family_.op != isa::Opcode::kRope;
    for (i32 row : step.rows) {
      std::vector<f64> m = data_->argument(
          program_->program(), step.ids[static_cast<std::size_t>(row)], family_.columns);
      if (!by_column) std::fill(m.begin(), m.end(), *std::max_element(m.begin(), m.end()));
      out.insert(out.end(), m.begin(), m.end());
    }
  }
  return out;
}

Outcome Trial::compare(const Step& step, std::span<const f64> got) {
  Result<std::vector<isa::Tensor>> golden = golden_->run(step.reference());
  Result<std::vector<isa::Tensor>> naive = naive_->run(step.reference());
  if (!golden) return failed("reference: " + golden.error().message);
  if (!naive) return failed("reference: " + naive.error().message);
  std::vector<f64> magnitude = magnitudes(step);
  Values values{
      .golden = golden.value()[0].data,
      .naive = naive.value()[0].data,
      .got = got,
      .magnitude = magnitude,
      .columns = family_.columns,
      .type = family_.result_type,
      .has_offset = signature_.w != TG_ANY && has_offset(static_cast<isa::DType>(signature_.w))};
  if (values.golden.size() != got.size()) {
    return failed(fmt::format("{} numbers, reference {}", got.size(), values.golden.size()));
  }
  pool_.add(values);
  ElementVerdict verdict = check_elements(family_.cls, values);
  return {verdict.pass, verdict.used, verdict.gamma, std::move(verdict.failure)};
}

Outcome Trial::run(const Shape& shape) {
  TG_ASSERT(claim_.has_value());
  if (executor_ == nullptr) return failed(refusal_);
  Outcome total;
  for (const Step& step : steps_of(shape, layout())) {
    Result<std::vector<f64>> got =
        run_watched(*executor_, step, family_.result_type == isa::DType::kI32);
    if (!got) return failed(got.error().message);
    Outcome outcome = compare(step, *got);
    total.used = std::max(total.used, outcome.used);
    total.gamma = std::max(total.gamma, outcome.gamma);
    if (outcome.pass || !total.pass) continue;
    total.pass = false;
    total.failure = outcome.failure;
  }
  return total;
}

// The first run has all threads, the replays one: the split must not show either.
Outcome Trial::replay(Replay replay) {
  TG_ASSERT(claim_.has_value());
  if (executor_ == nullptr) return failed(refusal_);
  if (single_ == nullptr) {
    Result<std::unique_ptr<backend::Executor>> bound = bind(1);
    if (!bound) return failed(bound.error().message);
    single_ = std::move(bound).value();
  }
  backend::Executor& other = replay == Replay::kAgain ? *executor_ : *single_;
  return compare_replay({.first = *executor_,
                         .other = other,
                         .layout = layout(),
                         .columns = family_.columns,
                         .is_integer = family_.result_type == isa::DType::kI32},
                        replay);
}

}  // namespace tg::conformance
