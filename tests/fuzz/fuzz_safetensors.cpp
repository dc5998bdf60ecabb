// libFuzzer target: any bytes as a safetensors file. An Error is a right answer; what is accepted must lie in the file.
#include <cstdlib>
#include <memory>

#include "bertx/error.h"
#include "io/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of exactly this size, so that the address sanitizer sees every byte read outside of it.
  const std::unique_ptr<std::byte[]> file(new std::byte[size]);
  for (std::size_t i = 0; i < size; ++i) file[i] = std::byte{data[i]};
  try {
    const bertx::SafetensorsHeader header = bertx::read_safetensors_header({file.get(), size}, "fuzz");
    for (const bertx::TensorEntry& entry : header.entries) {
      const auto begin = static_cast<std::byte*>(entry.data) - file.get();
      if (begin < 8 || static_cast<std::size_t>(begin) + entry.bytes > size) std::abort();
      if (bertx::find_by_name(header.entries, header.by_name, entry.name) != &entry) std::abort();
    }
  } catch (const bertx::Error& error) {
    if (error.kind() != bertx::ErrorKind::bad_input) std::abort();
  }
  return 0;
}
