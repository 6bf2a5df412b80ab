DROP FUNCTION IF EXISTS backfill.tell_window(text, text, timestamptz);
DROP FUNCTION IF EXISTS backfill.window_opens(text, text, timestamptz);
DROP FUNCTION IF EXISTS backfill.check_window(text, text);
DROP FUNCTION IF EXISTS backfill.parse_window(text, text);
DROP FUNCTION IF EXISTS backfill.format_at(timestamptz, text);
