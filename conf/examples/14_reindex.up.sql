-- REINDEX INDEX CONCURRENTLY: a second index is built beside the bloated or
-- damaged one, and takes its place. It needs as much space again meanwhile.

SELECT backfill.plan_reindex('shop.items', 'items_sku_idx',
	prefix => '14_reindex');
