// Ops that choose by an integer operand, which has no derivative: rows of a table, and their
// transpose. An index outside the table is a bug (data is checked where it is read), except in
// one_hot, where it is a row of zeros.
#include "ops/lower.h"
#include "ops/op_list.h"
#include "ops/rules.h"
#include "util/index.h"

namespace mixflow::op {
namespace {

void expect_index(std::string_view op, std::span<const Type> in, std::size_t i) {
  MIXFLOW_CHECK(in[i].dtype == DType::i32, rules::describe(op, "the index is not i32", in));
}

// How the operands of gather and scatter_add divide: `instances` tables of `rows` rows of `width`
// elements, and for each instance `count` positions.
struct Rows {
  std::int64_t instances, rows, width, count;
};

std::int64_t leading_axes(const Attrs& attrs) { return attrs.axes.empty() ? 0 : attrs.axes[0]; }

// `table` is the gathered table or the scattered result.
Rows rows_of(const Type& table, const Type& positions, const Attrs& attrs) {
  const auto first = table.shape.begin() + leading_axes(attrs);
  const std::int64_t instances = num_elements(Shape(table.shape.begin(), first));
  return {.instances = instances,
          .rows = *first,
          .width = num_elements(Shape(first + 1, table.shape.end())),
          .count = positions.elements() / instances};
}

void expect_leading(std::string_view op, std::span<const Type> in, const Attrs& attrs) {
  const std::int64_t leading = leading_axes(attrs);
  MIXFLOW_CHECK(
      attrs.axes.size() <= 1 && leading >= 0 && leading <= in[0].rank() &&
          leading <= in[1].rank() &&
          std::equal(in[1].shape.begin(), in[1].shape.begin() + leading, in[0].shape.begin()),
      rules::describe(op, "leading axes differ", in));
}

std::int64_t row_of(std::string_view op, double position, std::int64_t rows) {
  const auto row = static_cast<std::int64_t>(position);
  MIXFLOW_CHECK(row >= 0 && row < rows, "[" + std::string(op) + "] index " + std::to_string(row) +
                                            " is outside of " + std::to_string(rows) + " rows");
  return row;
}

// Instances of gather or scatter_add are instances of the op itself: one more leading axis.
Id batch_instances(Builder& b, const Call& call, std::span<const Id> in,
                   const std::vector<bool>& batched, std::int64_t n) {
  Attrs attrs = call.attrs;
  attrs.axes = {leading_axes(attrs) + 1};
  return b.emit(call.op, rules::with_leading(b, in, batched, n), std::move(attrs));
}

}  // namespace

// one_hot{value = depth, dtype}   i32 [..] -> [.., depth]: 1 at the index, else 0
constinit const OpDef k_one_hot = {
    .name = "one_hot",
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("one_hot", in, 1);
          expect_index("one_hot", in, 0);
          MIXFLOW_CHECK(attrs.value >= 1, "[one_hot] depth " + std::to_string(attrs.value));
          Type out{attrs.dtype, in[0].shape};
          out.shape.push_back(static_cast<std::int64_t>(attrs.value));
          return out;
        },
    .deriv = NonDiff{},
    .batch = rules::batch_leading,
    .ref =
        [](const RefCall& call) {
          const std::int64_t depth = call.out_type.shape.back();
          for (std::int64_t i = 0; i < call.out_type.elements(); ++i) {
            call.out[i] = call.in[0][i / depth] == static_cast<double>(i % depth) ? 1 : 0;
          }
        },
    .lower = lower_one_hot,
    .cost = [](std::span<const Type> in, const Type& out,
               const Attrs&) { return rules::traffic(in, out, 0); },
    .free = true,
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](Shape shape, std::int64_t depth) {
            samples.push_back({.in = {{DType::i32, std::move(shape)}}, .index_limit = depth + 1});
            samples.back().attrs.value = static_cast<double>(depth);
          };
          add({}, 3);
          add({1}, 1);
          add({7}, 5);
          add({3, 5}, 11);
          return samples;
        },
};

// gather{axes = {leading} or {}}   table [V, ..], index i32 [I..] -> [I.., ..]: row index[i] of the
// table at i, for each instance along `leading` first axes that all three share. Linear in the
// table.
constinit const OpDef k_gather = {
    .name = "gather",
    .arity = 2,
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("gather", in, 2);
          expect_index("gather", in, 1);
          expect_leading("gather", in, attrs);
          const std::int64_t leading = leading_axes(attrs);
          MIXFLOW_CHECK(in[0].rank() > leading,
                        rules::describe("gather", "the table has no rows", in));
          Type out{in[0].dtype, in[1].shape};
          out.shape.insert(out.shape.end(), in[0].shape.begin() + leading + 1, in[0].shape.end());
          return out;
        },
    .deriv = Linear{[](Builder& b, const Call& call, int i, Id y_bar) {
      MIXFLOW_CHECK(i == 0, "[gather] an index has no cotangent");
      Attrs attrs{.axes = call.attrs.axes};
      attrs.value = static_cast<double>(b.shape(call.in[0])[index(leading_axes(attrs))]);
      return b.emit(k_scatter_add, {y_bar, call.in[1]}, std::move(attrs));
    }},
    .batch =
        [](Builder& b, const Call& call, std::span<const Id> in, const std::vector<bool>& batched,
           std::int64_t n) {
          // A table that all instances share has no instances: its positions are just more.
          if (!batched[0] && leading_axes(call.attrs) == 0) return b.gather(in[0], in[1]);
          return batch_instances(b, call, in, batched, n);
        },
    .ref =
        [](const RefCall& call) {
          const Rows r = rows_of(call.in_types[0], call.in_types[1], call.attrs);
          for (std::int64_t i = 0; i < r.instances * r.count; ++i) {
            const std::int64_t row = i / r.count * r.rows + row_of("gather", call.in[1][i], r.rows);
            std::copy_n(call.in[0] + row * r.width, r.width, call.out + i * r.width);
          }
        },
    .lower = lower_gather,
    .cost =
        [](std::span<const Type> in, const Type& out, const Attrs&) {
          return Cost{.bytes_read = out.bytes() + in[1].bytes(), .bytes_written = out.bytes()};
        },
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](Shape table, Shape positions, std::int64_t leading = 0) {
            const std::int64_t rows = table[index(leading)];
            samples.push_back(
                {.in = {{DType::f32, std::move(table)}, {DType::i32, std::move(positions)}},
                 .index_limit = rows});
            if (leading > 0) samples.back().attrs.axes = {leading};
          };
          add({1}, {1});
          add({5}, {7});
          add({5, 3}, {});
          add({5, 3}, {7});
          add({3, 33}, {3, 5});
          add({4, 2, 3}, {2, 3});
          add({2, 5, 3}, {2, 7}, 1);
          add({2, 3, 4}, {2, 3, 5}, 2);
          return samples;
        },
};

// scatter_add{value = rows, axes = {leading} or {}}   updates [I.., ..], index i32 [I..] -> [rows,
// ..]: row r is the sum of the updates whose index is r, added in their order, for each instance
// along `leading` first axes. Linear in the updates; the transpose of gather.
constinit const OpDef k_scatter_add = {
    .name = "scatter_add",
    .arity = 2,
    .infer =
        [](std::span<const Type> in, const Attrs& attrs) {
          rules::expect_inputs("scatter_add", in, 2);
          expect_index("scatter_add", in, 1);
          expect_leading("scatter_add", in, attrs);
          const Shape& shape = in[0].shape;
          const Shape& positions = in[1].shape;
          MIXFLOW_CHECK(positions.size() <= shape.size() &&
                            std::equal(positions.begin(), positions.end(), shape.begin()),
                        rules::describe("scatter_add", "no update for each index", in));
          MIXFLOW_CHECK(attrs.value >= 1, "[scatter_add] rows " + std::to_string(attrs.value));
          Type out{in[0].dtype, Shape(shape.begin(), shape.begin() + leading_axes(attrs))};
          out.shape.push_back(static_cast<std::int64_t>(attrs.value));
          out.shape.insert(out.shape.end(), shape.begin() + in[1].rank(), shape.end());
          return out;
        },
    .deriv = Linear{[](Builder& b, const Call& call, int i, Id y_bar) {
      MIXFLOW_CHECK(i == 0, "[scatter_add] an index has no cotangent");
      return b.emit(k_gather, {y_bar, call.in[1]}, {.axes = call.attrs.axes});
    }},
    .batch = batch_instances,
    .ref =
        [](const RefCall& call) {
          const Rows r = rows_of(call.out_type, call.in_types[1], call.attrs);
          std::fill_n(call.out, call.out_type.elements(), 0.0);
          for (std::int64_t i = 0; i < r.instances * r.count; ++i) {
            const std::int64_t row =
                i / r.count * r.rows + row_of("scatter_add", call.in[1][i], r.rows);
            for (std::int64_t j = 0; j < r.width; ++j) {
              call.out[row * r.width + j] += call.in[0][i * r.width + j];
            }
          }
        },
    .lower = lower_scatter_add,
    .cost = [](std::span<const Type> in, const Type& out,
               const Attrs&) { return rules::traffic(in, out, in[0].elements()); },
    .samples =
        [] {
          std::vector<Sample> samples;
          const auto add = [&](Shape updates, Shape positions, std::int64_t rows,
                               std::int64_t leading = 0) {
            samples.push_back(
                {.in = {{DType::f32, std::move(updates)}, {DType::i32, std::move(positions)}},
                 .index_limit = rows});
            samples.back().attrs.value = static_cast<double>(rows);
            if (leading > 0) samples.back().attrs.axes = {leading};
          };
          add({1}, {1}, 1);
          add({7}, {7}, 3);
          add({3}, {}, 5);
          add({7, 3}, {7}, 5);
          add({3, 5, 33}, {3, 5}, 4);
          add({2, 3, 2, 3}, {2, 3}, 4);
          add({2, 7, 3}, {2, 7}, 5, 1);
          add({2, 3, 5, 4}, {2, 3, 5}, 3, 2);
          return samples;
        },
};

}  // namespace mixflow::op
