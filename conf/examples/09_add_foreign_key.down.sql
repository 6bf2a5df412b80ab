-- Drops the constraint, the index and the column.

SELECT backfill.plan_down('09_add_foreign_key');
