-- Takes back NOT NULL, the CHECK, the default and the column.

SELECT backfill.plan_down('03_add_column_fill');
