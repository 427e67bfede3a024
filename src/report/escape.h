// Text as it has to be written in each format; what comes from configs may hold anything.
#pragma once

#include <string>
#include <string_view>

namespace mixflow {

// For text and for attributes in double quotes. Control characters become spaces.
std::string html_escaped(std::string_view text);
// Inside a cell of a Markdown table.
std::string markdown_escaped(std::string_view text);
// For pdflatex without further packages: characters that its fonts lack become their number,
// U+03B1.
std::string latex_escaped(std::string_view text);

}  // namespace mixflow
