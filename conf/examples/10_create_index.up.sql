-- CREATE INDEX CONCURRENTLY: the table is read and written meanwhile. It waits
-- for transactions that are older than it, those of other tables, too: a
-- forgotten "idle in transaction" holds it up, and backfill.progress shows its
-- phase. A build that fails or is killed leaves an invalid index, which the
-- job drops before it tries again.

SELECT backfill.plan_create_index('shop.orders', 'orders_customer_idx',
	'(customer_id, placed_at DESC)', prefix => '10_create_index');
