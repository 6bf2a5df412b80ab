-- SET NOT NULL reads the table while nobody else can, unless a validated
-- CHECK says that there is no NULL. So:
--   1_fill      rows that are NULL, in small batches
--   2_check     CHECK (country IS NOT NULL) NOT VALID
--   3_sweep     rows that were written NULL before the CHECK
--   4_validate  reads the table, while it is read and written
--   5_not_null  SET NOT NULL, without reading; the CHECK goes
--
-- First deploy the version that writes no NULL: step 2 refuses it. Without
-- fill, rows that are NULL fail step 3: their keys are in
-- backfill.row_errors.

SELECT backfill.plan_set_not_null('shop.customers', 'country',
	fill => $$ 'DE' $$, prefix => '07_set_not_null');
