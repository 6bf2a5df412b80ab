-- Old rows get a value that is computed, new ones a default, and at the end
-- the column is NOT NULL:
--   1_add       the column, NULL everywhere
--   2_default   the default, for rows that are written from now on
--   3_fill      the old rows, in small batches
--   4_check     CHECK (tier IS NOT NULL) NOT VALID: holds for new rows
--   5_sweep     rows that were written NULL before the CHECK
--   6_validate  reads the table, while it is read and written
--   7_not_null  SET NOT NULL, which believes the CHECK and reads nothing; the
--               CHECK goes
--
-- From step 4 on an application that writes NULL explicitly is refused.

SELECT backfill.plan_add_column('shop.customers', 'tier', 'text',
	"default" => $$ 'basic' $$,
	fill => $$ CASE WHEN id <= 100 THEN 'founder' ELSE 'basic' END $$,
	not_null => true, prefix => '03_add_column_fill');
