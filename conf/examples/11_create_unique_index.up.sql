-- As example 10. The job first looks for duplicates, which would make the
-- build fail at its end: their keys are in backfill.row_errors, and the job
-- fails before anything was built. Mend them, and retry it.
--
-- While it is built it refuses duplicates already.

SELECT backfill.plan_create_index('shop.customers', 'customers_email_key',
	'UNIQUE (lower(email))', prefix => '11_create_unique_index');
