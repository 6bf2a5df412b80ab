DROP TRIGGER IF EXISTS jobs_1_capture ON backfill.jobs;
DROP TRIGGER IF EXISTS jobs_2_check ON backfill.jobs;
DROP TRIGGER IF EXISTS jobs_3_check_settings ON backfill.jobs;
DROP TRIGGER IF EXISTS jobs_4_submitted ON backfill.jobs;
DROP TRIGGER IF EXISTS jobs_5_tuned ON backfill.jobs;
DROP FUNCTION IF EXISTS backfill.jobs_tuned();
DROP FUNCTION IF EXISTS backfill.jobs_submitted();
DROP FUNCTION IF EXISTS backfill.jobs_check();
DROP FUNCTION IF EXISTS backfill.jobs_check_depends_on(bigint[]);
DROP FUNCTION IF EXISTS backfill.jobs_check_run_as(name, oid);
DROP FUNCTION IF EXISTS backfill.jobs_check_settings();
DROP FUNCTION IF EXISTS backfill.check_length(text, text, integer);
DROP FUNCTION IF EXISTS backfill.check_number(text, bigint, bigint, bigint);
DROP FUNCTION IF EXISTS backfill.check_word(text, text, text[]);
DROP FUNCTION IF EXISTS backfill.check_interval(text, interval, interval,
	interval);
DROP FUNCTION IF EXISTS backfill.jobs_capture();
