-- Drops the index, CONCURRENTLY. From then on nothing refuses duplicates.

SELECT backfill.plan_down('11_create_unique_index');
