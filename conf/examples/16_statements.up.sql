-- Several short statements that belong together commit together or not at
-- all. Their locks are held until the last one is done, so that each must
-- take no more than milliseconds. They wait for all locks together no longer
-- than lock_timeout, else everything is undone and tried again. undo is what
-- plan_down() runs.

SELECT backfill.plan_ddl('shop.products',
	$$
	ALTER TABLE shop.products ALTER COLUMN stock SET DEFAULT 0;
	COMMENT ON COLUMN shop.products.stock IS 'Pieces in the warehouse.';
	CREATE VIEW shop.sold_out AS
		SELECT id, sku, name FROM shop.products WHERE stock = 0;
	$$,
	undo => $$
	DROP VIEW IF EXISTS shop.sold_out;
	COMMENT ON COLUMN shop.products.stock IS NULL;
	ALTER TABLE shop.products ALTER COLUMN stock DROP DEFAULT;
	$$,
	prefix => '16_statements');
