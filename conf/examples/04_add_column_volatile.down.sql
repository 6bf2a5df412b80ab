-- Drops the default and the column: the tokens are lost.

SELECT backfill.plan_down('04_add_column_volatile');
