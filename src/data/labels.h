// Class labels as people write them, whole numbers from anywhere, texts, truths or one-hot rows,
// and the classes 0 .. C-1 that they become.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/array.h"
#include "data/facts.h"
#include "data/source.h"

namespace mixflow {

struct Labels {
  std::vector<std::int32_t> of_row;
  std::vector<DataFacts::Class> classes;  // class c is written classes[c].label in the file
  bool renumbered = false;                // some class's number is not its label

  int count() const { return static_cast<int>(classes.size()); }
  // "labels 1, 2, 5 are classes 0, 1, 2"; empty unless renumbered.
  std::string note() const;
};

// `rule` is the value of data.labels, `where` is where it was written:
//   auto    the labels that occur, in order, become 0 .. C-1: numbers by size, texts by alphabet
//   (by
//           size where all are whole numbers), the columns of one-hot rows as they come
//   exact   a label is the number of its class; classes without rows are allowed
//   a list  of labels: class c is the c-th
// Throws UserError naming the row of the first label that is none or is not listed, for fewer than
// two classes, and for labels that are one per row and so no classes.
Labels read_labels(const Array& y, const std::vector<std::string>& rule, const std::string& where);

// The field y of a batch of class labels: i32 [B] for cross_entropy, numbers 0 and 1 [B,1] for bce.
Field label_field(Loss loss);
// Width of the model's output for that many classes: one logit per class, or a single one for bce.
std::int64_t label_width(Loss loss, int classes);
// Writes one label as the `position`-th of the batch at `out`.
void write_label(Loss loss, Precision precision, std::int32_t label, std::byte* out,
                 std::int64_t position);

}  // namespace mixflow
