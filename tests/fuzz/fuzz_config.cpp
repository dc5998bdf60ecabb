// libFuzzer target: any bytes as a config.json. An Error is a right answer; what is accepted must be a possible model.
#include <cstdlib>
#include <string_view>

#include "bertx/error.h"
#include "io/config_names.h"
#include "io/json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const bertx::Config config = bertx::config_of_json(bertx::parse_json_text(text, "fuzz"), "fuzz");
    if (config.hidden <= 0 || config.heads <= 0 || config.hidden % config.heads != 0) std::abort();
    if (config.pad_token < 0 || config.pad_token >= config.vocab || config.layers.size() > 1000) std::abort();
  } catch (const bertx::Error& error) {
    if (error.kind() != bertx::ErrorKind::bad_input) std::abort();
  }
  return 0;
}
