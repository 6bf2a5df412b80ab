DROP FUNCTION IF EXISTS backfill.look(bigint, integer, bigint, text[]);
DROP FUNCTION IF EXISTS backfill.begin_alone(bigint, integer, bigint,
	text[], boolean);
DROP FUNCTION IF EXISTS backfill.do_step(bigint, integer, bigint, text[],
	boolean);
DROP FUNCTION IF EXISTS backfill.run_statements(backfill.jobs, backfill.step);
DROP FUNCTION IF EXISTS backfill.files_of(oid[], text);
DROP FUNCTION IF EXISTS backfill.examine_step(bigint, integer, bigint,
	text[], boolean);
DROP FUNCTION IF EXISTS backfill.next_step(bigint, integer, text[], boolean);
DROP FUNCTION IF EXISTS backfill.step_ddl(backfill.jobs, jsonb, text[]);
