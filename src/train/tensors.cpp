#include "train/tensors.h"

#include <cmath>
#include <map>

namespace mixflow {

double norm(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}

double norm(const Tensors& x) {
  double sum = 0;
  for (const auto& tensor : x) sum += norm(tensor) * norm(tensor);
  return std::sqrt(sum);
}

std::string_view kind_of(std::string_view name) {
  const std::size_t dot = name.find('.', std::string_view("eta.").size());
  return name.substr(0, dot);
}

std::vector<double> kind_norms(const Tensors& gradient, const std::vector<Port>& eta) {
  std::map<std::string_view, double> squares;
  for (std::size_t i = 0; i < gradient.size(); ++i)
    squares[kind_of(eta[i].name)] += norm(gradient[i]) * norm(gradient[i]);
  std::vector<double> norms;
  for (std::size_t i = 0; i < gradient.size(); ++i)
    norms.push_back(std::sqrt(squares[kind_of(eta[i].name)]));
  return norms;
}

}  // namespace mixflow
