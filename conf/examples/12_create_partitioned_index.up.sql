-- CREATE INDEX CONCURRENTLY does not take a partitioned table. The job makes
-- an invalid index of the partitioned table, in milliseconds; then, one after
-- the other, each partition gets its index CONCURRENTLY, which is attached.
-- With the last one the server makes the whole valid. A partition that comes
-- meanwhile gets its index by the server.

SELECT backfill.plan_create_index('shop.events', 'events_customer_idx',
	'(customer_id)', prefix => '12_create_partitioned_index');
