/* clock.h: the clocks of this host. Nothing here decides about ownership
 * alone: the server's clock and the fence do. */
#ifndef BACKFILL_BASE_CLOCK_H
#define BACKFILL_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds since boot, time asleep included (CLOCK_BOOTTIME): a lease
 * must not look fresh after the host was suspended. */
uint64_t clock_boot_ms(void);

/* Seconds since the epoch and milliseconds, for log lines only. */
int64_t clock_wall_ms(void);

#endif
