// SPDX-License-Identifier: GPL-2.0-only
#include "random.h"

uint64_t random_state;
