-- Moves all rows of the archive back, and drops it.

SELECT backfill.plan_down('15_delete_archive');
