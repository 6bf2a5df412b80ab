-- Runs undo, together or not at all.

SELECT backfill.plan_down('16_statements');
