// SPDX-License-Identifier: GPL-2.0-only
/* Until 6.12 the namespace of an exported symbol is a name, not a string. */
#include <linux/module.h>

void probe(void);
void probe(void)
{
}
EXPORT_SYMBOL_NS_GPL(probe, PROBE);
