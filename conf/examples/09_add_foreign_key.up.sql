-- Items name a product by its sku. They get a column that refers to it:
--   1_add          the column, of the type of the one that it refers to
--   2_fill         product_id = p.id FROM products p, in small batches
--   3_index        an index, without which each DELETE of a product would
--                  read all items
--   4_foreign_key  NOT VALID: holds for new rows
--   5_validate     looks each item up, while both tables are read and written
--
-- Rows that an application of the old version writes after step 2 have NULL.
-- When it is gone, backfill.plan_set_not_null() with a fill that needs no
-- FROM, such as a subquery, fills those, too.

SELECT backfill.plan_add_foreign_key('shop.items', 'product_id',
	'shop.products (id)', fill => 'p.id', from_clause => 'shop.products p',
	where_clause => 'p.sku = items.sku', prefix => '09_add_foreign_key');
