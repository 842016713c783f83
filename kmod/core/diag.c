// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
#include "diag.h"

int vhdx_fail(struct vhdx_diag *diag, int err, u32 reason, const char *fmt, ...)
{
	va_list args;

	/* What was noticed first is the cause; what follows is a consequence. */
	if (!diag || diag->text[0])
		return err;
	diag->reason = reason;
	va_start(args, fmt);
	vsnprintf(diag->text, sizeof(diag->text), fmt, args);
	va_end(args);
	return err;
}
