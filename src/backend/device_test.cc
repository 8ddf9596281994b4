// Loading backends: the shared object built beside this test, and things that are none.
#include "backend/device.h"

#include <gtest/gtest.h>

#include "backend/cpu_fixture.h"

namespace tg::backend {
namespace {

TEST(Library, a_shared_object_gives_the_bits_of_the_built_in_backend) {
  isa::VerifiedProgram program = verified(tiny_llama_text({}));
  RandomWeights weights(program.program(), 3);
  Result<std::unique_ptr<Executor>> loaded =
      make_executor(TG_BACKEND_MODULE, program, weights.table, kLimits);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message;
  std::unique_ptr<Executor> built_in = make(program, weights);
  PackedStep batch;
  batch.add(tokens_of(20, 4, 320), 0, std::vector<i32>{3, 1}, 2);
  EXPECT_EQ(run(**loaded, batch), run(*built_in, batch));
}

TEST(Library, refuses_other_objects_and_other_majors) {
  Result<Library> object = load_library(TG_BACKEND_MODULE);
  ASSERT_TRUE(object.ok());
  EXPECT_EQ(std::string(object->table->name), "cpu");
  Result<Library> other = load_library("/lib/x86_64-linux-gnu/libm.so.6");
  ASSERT_FALSE(other.ok());
  EXPECT_NE(other.error().message.find("does not export tg_backend_get"), std::string::npos);
}

TEST(Device, only_those_that_exist_and_errors_carry_the_backends_line) {
  Library library = load_library("cpu").value();
  EXPECT_FALSE(Device::open(library, 99).ok());
  std::unique_ptr<Device> device = Device::open(library, 0).value();
  tg_kvdesc kv{.size = sizeof(tg_kvdesc),
               .heads = 1,
               .dk = 8,
               .dv = 8,
               .page_tokens = 10,
               .format = static_cast<u8>(isa::DType::kF16)};
  tg_kv_layout layout{.size = sizeof(tg_kv_layout)};
  Status status =
      device->check(device->table().kv_layout(device->handle(), &kv, &layout), "kv_layout");
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, Code::kUnsupported);
  EXPECT_NE(status.error().message.find("pages of 10"), std::string::npos);
}

TEST(Device, buffers_map_import_and_copy_within_their_bounds) {
  Library library = load_library("cpu").value();
  std::unique_ptr<Device> device = Device::open(library, 0).value();
  const tg_backend& table = device->table();
  OwnedBuf host = allocate(*device, 4'096, TG_MEM_HOST).value();
  OwnedBuf hidden = allocate(*device, u64{5} << 20, TG_MEM_DEVICE).value();
  void* at = nullptr;
  EXPECT_EQ(table.mem_map(hidden.get(), &at), TG_E_INVALID);
  ASSERT_EQ(table.mem_map(host.get(), &at), TG_OK);
  EXPECT_EQ(*static_cast<u8*>(at), 0);
  u8 mine[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  tg_buf imported = nullptr;
  ASSERT_EQ(table.mem_import(device->handle(), mine, 8, &imported), TG_OK);
  EXPECT_EQ(table.copy(device->stream(), host.get(), 4'090, imported, 2, 6), TG_OK);
  EXPECT_EQ(static_cast<u8*>(at)[4'095], 8);
  EXPECT_EQ(table.copy(device->stream(), host.get(), 4'091, imported, 2, 6), TG_E_INVALID);
  EXPECT_EQ(table.copy(device->stream(), host.get(), 0, imported, 9, 0), TG_E_INVALID);
  table.mem_free(imported);
}

TEST(Device, memory_that_does_not_exist_is_an_error) {
  Library library = load_library("cpu").value();
  std::unique_ptr<Device> device = Device::open(library, 0).value();
  Result<OwnedBuf> buf = allocate(*device, ~u64{0} - 100, TG_MEM_DEVICE);
  ASSERT_FALSE(buf.ok());
  EXPECT_EQ(buf.error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace tg::backend
