-- Drops the constraint. The rows stay repaired.

SELECT backfill.plan_down('08_add_check');
