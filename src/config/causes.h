// Mistakes whose first message would otherwise be about a detail: following it leads to the next
// message, and never to a config that loads. They are told from the text's tree, before any key is
// read.
#pragma once

#include "config/yaml.h"

namespace mixflow {

// Throws UserError for what no change of details can mend.
void check_causes(const YamlNode& root);

}  // namespace mixflow
