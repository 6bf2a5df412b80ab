DROP FUNCTION IF EXISTS backfill.warn_step(bigint, integer, bigint, text);
DROP FUNCTION IF EXISTS backfill.is_undone_in_vain(bigint);
DROP FUNCTION IF EXISTS backfill.my_notes(bigint, integer);
DROP FUNCTION IF EXISTS backfill.my_job(bigint);
DROP FUNCTION IF EXISTS backfill.note_look(bigint, integer, bigint, jsonb,
	text, text, text);
DROP FUNCTION IF EXISTS backfill.note_alone(bigint, integer, bigint, text,
	jsonb);
DROP FUNCTION IF EXISTS backfill.end_step(bigint, integer, bigint, text,
	jsonb, boolean);
DROP FUNCTION IF EXISTS backfill.enter_step(bigint, integer, bigint, oid,
	boolean);
