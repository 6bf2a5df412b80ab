-- Nothing is to be taken back. The name is free for the next time.

SELECT backfill.plan_down('14_reindex');
