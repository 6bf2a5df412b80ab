-- Drops the index, CONCURRENTLY.

SELECT backfill.plan_down('10_create_index');
