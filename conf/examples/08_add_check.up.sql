-- ADD CONSTRAINT … CHECK reads the table while nobody else can. So the rows
-- that violate it are repaired in small batches (1_fill), the constraint is
-- added NOT VALID, which holds for new rows (2_check), those that were written
-- meanwhile are repaired (3_sweep), and it is validated (4_validate) while the
-- table is read and written.
--
-- Without repair, 2_validate fails when rows violate it, and their keys are in
-- backfill.row_errors. Repair them, then:
--   SELECT backfill.retry('08_add_check.2_validate');

SELECT backfill.plan_add_check('shop.orders', 'orders_total_check',
	'total_cents >= 0', repair => 'total_cents = 0',
	prefix => '08_add_check');
