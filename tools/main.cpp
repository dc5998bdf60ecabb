// The bertx command: looks the sub-command up in a table, runs it, and turns what it throws into a message and an exit
// code (0 ok, 2 usage, 3 bad input, 4 I/O, 5 out of memory, 6 numeric failure, 130/143 after a signal).
#include <iterator>
#include <new>
#include <string>
#include <string_view>

#include "bertx/error.h"
#include "bertx/safetensors.h"
#include "commands.h"
#include "common/machine.h"
#include "common/method_flags.h"
#include "common/output.h"
#include "common/text.h"

namespace bertx::tools {
namespace {

struct Command {
  std::string_view name;
  int (*run)(const Arguments&);
  std::string_view summary;
};

constexpr Command kCommands[] = {
    {"train", train_command, "fine-tune a model on a GLUE task or on your own labelled texts"},
    {"prune", prune_command, "make a smaller, faster model: zeros; fewer heads, neurons, layers"},
    {"factorize", factorize_command, "matrices as products of smaller ones, also the word embeddings"},
    {"share", share_command, "one set of weights for groups of layers, from a trained model or new"},
    {"compress", compress_command, "a recipe of several methods, step by step, from a file"},
    {"export", export_command, "a compressed model as a plain Hugging Face directory, or a plain one compressed"},
    {"distill", distill_command, "train a small model to answer as a large, fine-tuned one does"},
    {"eval", eval_command, "measure a model on labelled texts"},
    {"predict", predict_command, "label texts: one in a line, one JSON line out"},
    {"tokenize", tokenize_command, "token ids of texts, as JSON lines"},
    {"inspect", inspect_command, "what a model directory holds: shapes, zeros, bytes, multiplies"},
    {"importance", importance_command, "which heads and neurons matter, and whether other data and seeds agree"},
    {"bench", bench_command, "forward latency, dense and sparse side by side"},
};

std::string usage_text() {
  std::string out = "bertx - train, compress and run BERT\n\nUsage:\n  bertx <command> [flags]\n\nCommands:\n";
  for (const Command& command : kCommands) {
    out += "  " + std::string(command.name) + std::string(12 - command.name.size(), ' ') + std::string(command.summary);
    out += '\n';
  }
  return out +
         "  help        this text; `bertx help <command>` or `bertx <command> --help` for one command;\n"
         "              `bertx help methods` for all methods of compression\n"
         "\nFlags:\n  --version  version, build, instruction sets, oneDNN, backends\n"
         "  --help     this text\n\nExample:\n"
         "  bertx train --model_name_or_path bert-base-uncased --task_name sst2 --data_dir glue --output_dir "
         "out/sst2\n";
}

const Command& find_command(const std::string& name) {
  std::vector<std::string_view> names;
  std::string known;
  for (const Command& command : kCommands) {
    if (command.name == name) return command;
    names.push_back(command.name);
    known += std::string(command.name) + ", ";
  }
  fail(ErrorKind::usage, "there is no command '", name, "'", did_you_mean(name, names), "; expected one of ", known,
       "help");
}

/// What is not a sub-command: help and version. `name` is the first argument.
int run_general(const std::string& name, const Arguments& rest) {
  Output out;
  if (name == "--version" || name == "version") {
    out.line(version_text());
  } else if (name == "help" && !rest.empty() && rest.front() == "methods") {
    out.write(methods_page());
  } else if (name == "help" && !rest.empty()) {
    return find_command(rest.front()).run({"--help"});
  } else {
    out.write(usage_text());
  }
  out.flush();
  return 0;
}

int run(const Arguments& arguments) {
  if (arguments.empty()) fail(ErrorKind::usage, "a command is missing; `bertx help` lists them");
  const std::string& name = arguments.front();
  const Arguments rest(std::next(arguments.begin()), arguments.end());
  for (const std::string_view general : {"help", "--help", "-h", "--version", "version"}) {
    if (name == general) return run_general(name, rest);
  }
  return find_command(name).run(rest);
}

}  // namespace
}  // namespace bertx::tools

int main(int argc, char** argv) {
  using namespace bertx::tools;
  const Arguments arguments(argv + 1, argv + argc);
  const bool named = !arguments.empty() && !arguments.front().starts_with("-");
  const std::string who = named ? "bertx " + printable(arguments.front()) : "bertx";
  try {
    // 1. Standard descriptors that are closed must not be taken by files that are opened later.
    guard_standard_descriptors();
    // 2. A model file that shrinks while it is mapped ends the process with a message.
    bertx::install_mapping_guard();
    // 3. The command.
    return run(arguments);
  } catch (const ClosedPipe&) {
    return static_cast<int>(bertx::ErrorKind::io);  // the reader has gone: nobody is there to be told
  } catch (const bertx::Error& error) {
    complain(who, error.what());
    return static_cast<int>(error.kind());
  } catch (const std::bad_alloc&) {
    complain(who, "out of memory");
    return static_cast<int>(bertx::ErrorKind::out_of_memory);
  } catch (const std::exception& error) {
    complain(who, error.what());
    return 1;
  }
}
