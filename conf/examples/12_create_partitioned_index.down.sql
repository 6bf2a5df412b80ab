-- Drops the index with those of all partitions: in one statement, because
-- there is no other way, which has all of them for itself for milliseconds.

SELECT backfill.plan_down('12_create_partitioned_index');
