DROP FUNCTION IF EXISTS backfill.finish_range(bigint, integer, bigint,
	bigint);
DROP FUNCTION IF EXISTS backfill.set_aside(bigint, integer, bigint, bigint,
	text[], bigint, bigint, text, text, text);
DROP FUNCTION IF EXISTS backfill.record_row_error(bigint, integer, text[],
	text, text, text);
DROP FUNCTION IF EXISTS backfill.close_hole(bigint, integer, bigint, bigint,
	bigint, bigint, bigint, bigint, bigint, bigint, bigint, integer);
DROP FUNCTION IF EXISTS backfill.list_holes(bigint, integer, bigint, bigint,
	boolean);
DROP FUNCTION IF EXISTS backfill.skip_window(bigint, integer, bigint, bigint,
	text[], bigint);
DROP FUNCTION IF EXISTS backfill.move_cursor(bigint, integer, text[], bigint);
