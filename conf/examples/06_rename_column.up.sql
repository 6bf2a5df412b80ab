-- A renamed column breaks the application of the one version or of the other.
-- So both columns are there while both versions run:
--   1_add   the new column
--   2_sync  a trigger that gives the one column what is written to the other
--   3_fill  the old rows, in small batches
--   4_cut   held: the trigger goes; the default would move
--   5_drop  the old column goes
--
-- Now deploy the version that reads and writes shipping_address. When no
-- process of the old version runs any more, and what used the old column (a
-- NOTICE names it) is made anew for the new one:
--   SELECT backfill.approve('06_rename_column.4_cut');

SELECT backfill.plan_rename_column('shop.orders', 'address',
	'shipping_address', prefix => '06_rename_column');
