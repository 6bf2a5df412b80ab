-- Drops NOT NULL. The rows keep what they were filled with: nobody knows any
-- more which of them were NULL.

SELECT backfill.plan_down('07_set_not_null');
