-- Before it was approved: the column was never away. After that it comes back
-- empty, as the last column of the table, and without NOT NULL unless it had
-- a default.

SELECT backfill.plan_down('05_drop_column');
