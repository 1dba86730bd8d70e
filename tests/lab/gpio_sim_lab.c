// SPDX-License-Identifier: GPL-2.0-or-later
// Debian's kernels leave gpio-sim out. This makes one module of its source and of the simulated
// interrupts beneath it; build.sh lays both beside this file. One name is not exported to modules.
#include <linux/irq.h>
#include <linux/irqdesc.h>
#define irq_to_desc(n) irq_data_to_desc(irq_get_irq_data(n))
#include "irq_sim.c"
#undef pr_fmt
#include "gpio-sim.c"
