-- Drops the column with what was written into it meanwhile. What is to be
-- kept must be copied before.

SELECT backfill.plan_down('01_add_column');
