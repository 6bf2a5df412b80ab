-- A column that may be NULL: one ALTER TABLE, which changes the catalog and
-- no row. It needs the table for itself for milliseconds: while a long
-- transaction uses the table, the job waits without standing in the queue, so
-- that nobody waits behind it.
--
-- Applications must not depend on the number of columns (SELECT *, INSERT
-- without a list of columns).

SELECT backfill.plan_add_column('shop.customers', 'phone', 'text',
	prefix => '01_add_column');
