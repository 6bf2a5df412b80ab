-- Builds it again as it was, CONCURRENTLY: as long as that takes.

SELECT backfill.plan_down('13_drop_index');
