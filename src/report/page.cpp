#include "report/page.h"
namespace mixflow {
std::string html_page(const ReportData&, const ReportOptions&, std::vector<std::string>&) {
  return "";
}
}  // namespace mixflow
