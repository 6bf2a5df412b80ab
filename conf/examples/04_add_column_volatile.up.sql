-- ADD COLUMN … DEFAULT gen_random_uuid() would rewrite the table while nobody
-- can read it. The recipe finds that out, and adds the column empty (1_add),
-- sets the default for new rows (2_default), and fills the old ones in small
-- batches (3_fill). Each row gets a value of its own.
--
-- With not_null => true the steps of example 03 follow.

SELECT backfill.plan_add_column('shop.orders', 'created_token', 'uuid',
	"default" => 'gen_random_uuid()', prefix => '04_add_column_volatile');
