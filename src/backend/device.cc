#include "backend/device.h"

#include <dlfcn.h>

#include <filesystem>

#include "backend/cpu/backend.h"

namespace tg::backend {

namespace {

Error unsupported(std::string text) {
  return Error{Code::kUnsupported, std::move(text)};
}

// Everything but the optional groups at the table's end, copy and mem_import.
bool is_complete(const tg_backend& t) {
  return t.dev_count && t.dev_open && t.dev_close && t.dev_props && t.rows && t.error_text &&
         t.mem_alloc && t.mem_free && t.mem_map && t.stream_new && t.stream_free && t.stream_sync &&
         t.pack_size && t.pack && t.kv_layout && t.kv_copy && t.plan && t.plan_info &&
         t.plan_free && t.bind && t.exec_free && t.run;
}

Status check_table(const std::string& name, const tg_backend* table) {
  if (table == nullptr) return unsupported(name + ": refuses ABI " + std::to_string(TG_ABI_MAJOR));
  if (table->abi_major != TG_ABI_MAJOR || table->size < offsetof(tg_backend, capture_begin)) {
    return unsupported(name + ": ABI " + std::to_string(table->abi_major) + ", this is " +
                       std::to_string(TG_ABI_MAJOR));
  }
  if (!is_complete(*table)) return unsupported(name + ": its function table has holes");
  return {};
}

// The object of a backend named by one word: beside this program, or in its build folder.
Result<std::string> find_object(const std::string& name) {
  std::error_code failed;
  std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", failed);
  std::string object = "libtg_backend_" + name + ".so";
  std::filesystem::path folder = program.parent_path();
  for (const std::filesystem::path& place :
       {folder, folder.parent_path(), folder.parent_path() / "lib" / "tokengrid"}) {
    if (std::filesystem::exists(place / object, failed)) return (place / object).string();
  }
  return Error{Code::kNotFound, "backend " + name + ": not built in, and no " + object +
                                    " beside the program; give its path"};
}

// Why a device cannot be had, in the backend's own words if it is new enough to have any.
std::string reason(const tg_backend& table) {
  const char* text = table.abi_minor >= 2 ? table.error_text(nullptr) : nullptr;
  return text && *text ? std::string(": ") + text : "";
}

}  // namespace

Result<Library> load_library(const std::string& name) {
  if (name == "cpu") return Library{.table = cpu::cpu_backend()};
  std::string path = name;
  if (name.find('/') == std::string::npos) {
    TG_ASSIGN(path, find_object(name));
  }
  void* object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) return Error{Code::kNotFound, std::string("backend ") + dlerror()};
  Library library{.object = std::shared_ptr<void>(object, dlclose)};
  using Get = decltype(&tg_backend_get);
  Get get = reinterpret_cast<Get>(dlsym(object, "tg_backend_get"));
  if (get == nullptr) return unsupported("backend " + name + ": does not export tg_backend_get");
  library.table = get(TG_ABI_MAJOR, TG_ABI_MINOR);
  TG_TRY(check_table("backend " + name, library.table));
  return library;
}

Result<std::unique_ptr<Device>> Device::open(const Library& library, u32 index) {
  std::unique_ptr<Device> device(new Device(library));
  const tg_backend& table = device->table();
  u32 count = 0;
  if (table.dev_count(&count) != TG_OK || index >= count) {
    return Error{Code::kNotFound, std::string("backend ") + table.name + ": no device " +
                                      std::to_string(index) + " of " + std::to_string(count) +
                                      reason(table)};
  }
  if (table.dev_open(index, &device->device_) != TG_OK) {
    return Error{Code::kUnavailable, std::string("backend ") + table.name +
                                         ": cannot open device " + std::to_string(index) +
                                         reason(table)};
  }
  device->props_.size = sizeof(tg_props);
  TG_TRY(device->check(table.dev_props(device->device_, &device->props_), "dev_props"));
  device->props_.name[sizeof(device->props_.name) - 1] = 0;
  TG_TRY(device->check(table.stream_new(device->device_, &device->stream_), "stream_new"));
  return device;
}

Device::~Device() {
  if (stream_ != nullptr) table().stream_free(stream_);
  if (device_ != nullptr) table().dev_close(device_);
}

Status Device::check(tg_status status, const char* call) const {
  if (status == TG_OK) return {};
  Code code = status == TG_E_UNSUPPORTED ? Code::kUnsupported
              : status == TG_E_MEMORY    ? Code::kUnavailable
              : status == TG_E_DEVICE    ? Code::kIo
                                         : Code::kInvalid;
  const char* text = table().error_text(device_);
  return Error{code, std::string("backend ") + table().name + ": " + call + " failed (" +
                         std::to_string(status) + "): " + (text ? text : "")};
}

Result<OwnedBuf> allocate(const Device& device, u64 bytes, u32 kind) {
  OwnedBuf owned(nullptr, {&device.table()});
  if (bytes == 0) return owned;
  tg_buf buf = nullptr;
  TG_TRY(device.check(device.table().mem_alloc(device.handle(), bytes, kind, &buf), "mem_alloc"));
  owned.reset(buf);
  return owned;
}

}  // namespace tg::backend
