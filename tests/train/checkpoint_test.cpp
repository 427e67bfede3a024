// Damaged checkpoints are never taken for whole ones.
#include "train/checkpoint.h"

#include <doctest/doctest.h>

#include <cstring>
#include <limits>
#include <random>

#include "configs.h"
#include "data/safetensors.h"
#include "util/error.h"
#include "util/file.h"

using namespace mixflow;

namespace {

using FileBytes = std::vector<std::byte>;

// A checkpoint file of one meta-step, and a run to load it into.
struct Saved : TemporaryDirectory {
  Built built{small_config()};
  StageRun run{built.experiment.train, {}};
  std::filesystem::path file = path / "step-0000000001.safetensors";

  Saved() {
    draw_initial_values(built.experiment, run);
    give_step(built, run, 1);
    run.run();
    save_checkpoint(path,
                    {.step = 1,
                     .identity = identity_of(built.experiment.config, {}),
                     .metrics = {12, "ab"},
                     .recent_losses = {3, 2, 1}},
                    run);
  }

  // Whether a file of these bytes is refused as damaged, and leaves the run as it was.
  bool refuses(const FileBytes& bytes) {
    write_atomically(file, std::span<const std::byte>(bytes));
    const std::vector<double> before =
        to_doubles(run.stage().inputs[0].type, run.executor().input(0));
    try {
      load_checkpoint(path, run);
      return false;
    } catch (const UserError& error) {
      CHECK(std::string(error.what()).find("; delete it to resume from ") != std::string::npos);
    }
    return before == to_doubles(run.stage().inputs[0].type, run.executor().input(0));
  }
};

FileBytes mutated(FileBytes bytes, int kind, std::mt19937& random) {
  const auto place = [&](std::size_t limit) { return random() % limit; };
  const std::size_t size = bytes.size();
  switch (kind % 6) {
    case 0:  // a bit
      bytes[place(size)] ^= std::byte{1} << random() % 8;
      break;
    case 1:  // cut, or longer
      bytes.resize(random() % 2 ? place(size) : size + 1 + place(100));
      break;
    case 2: {  // a zeroed page
      const std::size_t at = place(size);
      std::fill(bytes.begin() + static_cast<long>(at),
                bytes.begin() + static_cast<long>(std::min(size, at + 512)), std::byte{0});
      break;
    }
    case 3: {  // two pieces of data swapped
      const std::size_t a = size / 2 + place(size / 4 - 64), b = a + 8 + place(size / 4 - 8 - 8);
      const std::size_t n = std::min<std::size_t>(8, size - b);
      std::swap_ranges(bytes.begin() + static_cast<long>(a),
                       bytes.begin() + static_cast<long>(a + n),
                       bytes.begin() + static_cast<long>(b));
      break;
    }
    case 4: {  // a digit in the header
      std::string_view text(reinterpret_cast<const char*>(bytes.data()), size / 3);
      std::size_t at = text.find_first_of("0123456789", 8 + place(text.size() / 2));
      if (at == std::string_view::npos) at = 20;
      bytes[at] = static_cast<std::byte>('0' + (std::to_integer<int>(bytes[at]) - '0' + 1) % 10);
      break;
    }
    default:  // noise over a range
      for (std::size_t i = place(size), end = std::min(size, i + 40); i < end; ++i)
        bytes[i] = static_cast<std::byte>(random());
  }
  return bytes;
}

}  // namespace

TEST_CASE("a checkpoint with any damage is refused, and the run's state stays as it was") {
  Saved saved;
  const FileBytes whole = read_file(saved.file);
  std::mt19937 random(7);
  int tried = 0;
  for (int i = 0; i < (kThorough ? 3000 : 500); ++i) {
    const FileBytes bytes = mutated(whole, i, random);
    if (bytes == whole) continue;
    ++tried;
    CHECK_MESSAGE(saved.refuses(bytes), "mutation " << i);
  }
  CHECK(tried > 400);
  write_atomically(saved.file, std::span<const std::byte>(whole));
  CHECK(load_checkpoint(saved.path, saved.run)->step == 1);
}

TEST_CASE("a checkpoint whose state is not finite is refused, though its checksum fits") {
  Saved saved;
  TensorFile file = read_safetensors(saved.file);
  const float infinity = std::numeric_limits<float>::infinity();
  for (NamedTensor& tensor : file.tensors) {
    if (tensor.name == "eta.init.layers.0.weight")
      std::memcpy(tensor.data.data() + 8, &infinity, sizeof infinity);
  }
  std::vector<TensorView> views;
  for (const NamedTensor& t : file.tensors) views.push_back({t.name, t.type, t.shape, t.data});
  write_sealed_safetensors(saved.file, views, file.metadata);
  CHECK(message_of<UserError>([&] {
          load_checkpoint(saved.path, saved.run);
        }).find("eta.init.layers.0.weight is not finite") != std::string::npos);
}
