-- Drops the column with what was written into it meanwhile.

SELECT backfill.plan_down('02_add_column_default');
