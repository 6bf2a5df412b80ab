-- Old rows go in small batches, each in one transaction with the INSERT into
-- the archive, which is made like the table, with its primary key, unless it
-- is there. Without archive the rows are gone.
--
-- Rows that others hold at the moment are passed over, and come last.

SELECT backfill.plan_delete('shop.carts',
	$$ changed_at < '2024-01-01 00:00+00' $$,
	archive => 'shop.carts_archive', prefix => '15_delete_archive');
