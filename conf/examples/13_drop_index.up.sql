-- DROP INDEX CONCURRENTLY: waits for those who use the table, while others
-- read and write it. The event "warning" of the job says how often the index
-- was used on this server; look on the standbys, too (pg_stat_user_indexes).

SELECT backfill.plan_drop_index('shop.orders', 'orders_note_idx',
	prefix => '13_drop_index');
