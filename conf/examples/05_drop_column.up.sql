-- DROP COLUMN takes milliseconds, and its values are gone. So the job is held
-- until somebody approves it. Look before:
--   SELECT * FROM backfill.dependents('shop.customers', 'fax');
-- lists views, indexes and functions that use the column (the event "depends"
-- of the job, too). No application may read or write it any more, an ORM that
-- lists all columns neither. Then:
--   SELECT backfill.approve('05_drop_column.1_drop');
--
-- The space of the values comes back as rows are updated, not at once.

SELECT backfill.plan_drop_column('shop.customers', 'fax',
	prefix => '05_drop_column');
