// SPDX-License-Identifier: GPL-2.0-only
#include "random.h"

_Thread_local uint64_t random_state;
