#include "backend/opencl/context.h"

#include "backend/gpu/sources.h"
#include "backend/opencl/binary_cache.h"
#include "base/assert.h"
#include "base/hash.h"

namespace tg::backend::opencl {

// CL_DEVICE_INTEGER_DOT_PRODUCT_CAPABILITIES_KHR, which headers of 1.2 do not know.
static constexpr cl_device_info kDotProducts = 0x1073;

Result<std::unique_ptr<Context>> Context::make(const Api& api, cl_device_id device,
                                               std::string cache, ExtensionUse use) {
  std::unique_ptr<Context> made(new Context(api, device, std::move(cache)));
  cl_int error = CL_SUCCESS;
  cl_context context = api.CreateContext(nullptr, 1, &device, nullptr, nullptr, &error);
  TG_TRY(check(error, "clCreateContext"));
  made->context_ = ContextHandle(api, context);
  TG_TRY(made->read_facts(use));
  return made;
}

std::string Context::text(cl_device_info what) const {
  std::size_t bytes = 0;
  if (api_.GetDeviceInfo(device_, what, 0, nullptr, &bytes) != CL_SUCCESS) return "";
  std::string out(bytes, '\0');
  if (api_.GetDeviceInfo(device_, what, bytes, out.data(), nullptr) != CL_SUCCESS) return "";
  return out.c_str();
}

template <typename T>
T Context::number(cl_device_info what) const {
  T value{};
  if (api_.GetDeviceInfo(device_, what, sizeof(value), &value, nullptr) != CL_SUCCESS) return T{};
  return value;
}

Status Context::read_facts(ExtensionUse use) {
  if (number<cl_bool>(CL_DEVICE_COMPILER_AVAILABLE) == CL_FALSE) {
    return Error{Code::kUnsupported, "the OpenCL device has no compiler"};
  }
  facts_.name = "opencl " + text(CL_DEVICE_NAME);
  facts_.memory = number<cl_ulong>(CL_DEVICE_GLOBAL_MEM_SIZE);
  facts_.units = number<cl_uint>(CL_DEVICE_MAX_COMPUTE_UNITS);
  facts_.has_f64 = number<cl_device_fp_config>(CL_DEVICE_DOUBLE_FP_CONFIG) != 0;
  facts_.divides_exactly = (number<cl_device_fp_config>(CL_DEVICE_SINGLE_FP_CONFIG) &
                            CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
  allocation_max_ = number<cl_ulong>(CL_DEVICE_MAX_MEM_ALLOC_SIZE);
  identity_ =
      text(CL_DEVICE_NAME) + "\n" + text(CL_DEVICE_VERSION) + "\n" + text(CL_DRIVER_VERSION);
  reported_ = {.extensions = text(CL_DEVICE_EXTENSIONS),
               .c_version = text(CL_DEVICE_OPENCL_C_VERSION),
               .dot_products = number<cl_bitfield>(kDotProducts)};
  extensions_ = extensions_of(reported_, use);
  facts_.traits.int_dot = extensions_.int_dot;
  return {};
}

std::string Context::options(const gpu::Variant& variant, const Extensions& extensions) const {
  std::string out = build_options(reported_, extensions);
  if (facts_.divides_exactly) out += " -cl-fp32-correctly-rounded-divide-sqrt";
  std::string definitions = gpu::definitions(variant);
  return definitions.empty() ? out : out + " " + definitions;
}

Result<ProgramHandle> Context::build(ProgramHandle program, const std::string& options) const {
  cl_int error = api_.BuildProgram(program.get(), 1, &device_, options.c_str(), nullptr, nullptr);
  if (error == CL_SUCCESS) return program;
  std::string log(4'096, '\0');
  std::size_t bytes = 0;
  api_.GetProgramBuildInfo(program.get(), device_, CL_PROGRAM_BUILD_LOG, log.size(), log.data(),
                           &bytes);
  log.resize(std::min(bytes, log.size()));
  // A kernel the compiler refuses is no lost device.
  return Error{Code::kUnsupported, check(error, "clBuildProgram").error().message + " with " +
                                       options + ": " + log.c_str()};
}

Result<ProgramHandle> Context::from_source(const std::string& options,
                                           const std::string& source) const {
  const char* text = source.data();
  std::size_t bytes = source.size();
  cl_int error = CL_SUCCESS;
  cl_program program = api_.CreateProgramWithSource(context_.get(), 1, &text, &bytes, &error);
  TG_TRY(check(error, "clCreateProgramWithSource"));
  return build(ProgramHandle(api_, program), options);
}

Result<ProgramHandle> Context::from_binary(const std::string& options,
                                           const std::string& file) const {
  TG_ASSIGN(std::vector<u8> binary, read_binary(file));
  const u8* data = binary.data();
  std::size_t bytes = binary.size();
  cl_int error = CL_SUCCESS;
  cl_program program =
      api_.CreateProgramWithBinary(context_.get(), 1, &device_, &bytes, &data, nullptr, &error);
  TG_TRY(check(error, "clCreateProgramWithBinary"));
  return build(ProgramHandle(api_, program), options);
}

void Context::keep_binary(cl_program program, const std::string& file) const {
  std::size_t bytes = 0;
  if (api_.GetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(bytes), &bytes, nullptr) !=
          CL_SUCCESS ||
      bytes == 0) {
    return;
  }
  std::vector<u8> binary(bytes);
  u8* data = binary.data();
  if (api_.GetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(data), &data, nullptr) ==
      CL_SUCCESS) {
    write_binary(file, binary);
  }
}

// A cache that is stale, corrupt or refused costs a compilation, never a failure.
Result<ProgramHandle> Context::compiled(const std::string& options,
                                        const std::string& source) const {
  std::string file;
  if (!cache_.empty()) {
    file = cache_ + "/" + to_hex(sha256(identity_ + "\n" + options + "\n" + source)) + ".bin";
    Result<ProgramHandle> kept = from_binary(options, file);
    if (kept) return kept;
  }
  TG_ASSIGN(ProgramHandle program, from_source(options, source));
  if (!file.empty()) keep_binary(program.get(), file);
  return program;
}

// A compiler that refuses what its device says it has still takes the plain form.
Status Context::compile(const gpu::Variant& variant) {
  if (programs_.contains(variant)) return {};
  std::string source = gpu::source_of(variant.unit);
  Result<ProgramHandle> program = compiled(options(variant, extensions_), source);
  if (!program && extensions_.any() && !extensions_.emulated) {
    program = compiled(options(variant, {}), source);
  }
  if (!program) return std::move(program).error();
  programs_.emplace(variant, std::move(program).value());
  return {};
}

Result<KernelHandle> Context::kernel(gpu::Kernel kernel, const gpu::Variant& variant) const {
  std::map<gpu::Variant, ProgramHandle>::const_iterator program = programs_.find(variant);
  TG_ASSERT(program != programs_.end());
  cl_int error = CL_SUCCESS;
  cl_kernel made = api_.CreateKernel(program->second.get(), gpu::name(kernel), &error);
  TG_TRY(check(error, gpu::name(kernel)));
  return KernelHandle(api_, made);
}

}  // namespace tg::backend::opencl
