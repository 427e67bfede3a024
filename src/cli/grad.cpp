#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/cli.h"
#include "train/exchange.h"

namespace mixflow {

void add_grad(CLI::App& app, int& exit_code) {
  struct Options : CommonOptions {
    std::string in, out;
  };
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "grad", "One meta-gradient, exchanged with NumPy, JAX or PyTorch by safetensors");
  add_common(*command, *o);
  command->add_option("--in", o->in,
                      "Inputs (theta.*, eta.*, data.*); what it lacks is drawn from the seed");
  command->add_option("--out", o->out, "Inputs, meta_grad.*, theta_T.*, inner_loss and outer_loss");
  command->footer(
      "Examples:\n"
      "  mixflow grad configs/quickstart.yaml --out a.safetensors -s precision=f64\n"
      "  mixflow grad configs/quickstart.yaml --in a.safetensors --out b.safetensors -s "
      "precision=f64");
  command->callback([o, &exit_code] {
    const GradReport report = meta_gradient(load(*o), {.in = o->in, .out = o->out});
    std::printf("%s%s", o->json ? to_json(report).c_str() : to_text(report).c_str(),
                o->json ? "\n" : "");
    exit_code = 0;
  });
}

}  // namespace mixflow
