-- Before it was approved: the trigger and the new column go, the old one has
-- all values, whoever wrote them. After that the old column comes back as the
-- last one, in steps as it went, with the values of the new one; the
-- application of the old version may run from then on. NOT NULL of the old
-- column does not come back: backfill.plan_set_not_null() sets it.

SELECT backfill.plan_down('06_rename_column');
