-- The daily hours in which a job may run, by the wall clock of their zone.

SET LOCAL ROLE backfill_owner;

-- Both settings are the function's: the caller's come back at its end.
CREATE OR REPLACE FUNCTION backfill.format_at(at timestamptz, zone text)
RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO'
AS $$
BEGIN
	PERFORM set_config('TimeZone', zone, true);
	RETURN at::text;
END
$$;
COMMENT ON FUNCTION backfill.format_at(timestamptz, text) IS
	'A moment as the clocks of a zone show it, with its distance from UTC, whatever the session''s settings.';

-- 24:00 is the end of a day, and the beginning of none.
CREATE OR REPLACE FUNCTION backfill.parse_window(run_window text,
	default_zone text, OUT starts time, OUT ends time, OUT zone text)
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	parts text[] := regexp_match(run_window,
		'^(([01]?\d|2[0-3]):[0-5]\d)\s*-\s*(([01]?\d|2[0-3]):[0-5]\d|24:00)'
		'(\s+(\S.*))?$');
BEGIN
	starts := parts[1];
	ends := parts[3];
	zone := coalesce(btrim(parts[6]), default_zone);
	IF run_window IS NOT NULL AND (starts = ends) IS NOT FALSE THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('invalid run_window "%s"', run_window),
			DETAIL = CASE WHEN starts = ends
				THEN 'It ends when it begins.' ELSE '' END,
			HINT = 'Write two times of day, such as 22:00-06:00 or'
				' 22:00-06:00 Europe/Berlin.';
	END IF;
END
$$;
COMMENT ON FUNCTION backfill.parse_window(text, text) IS
	'The parts of a run_window. Raises 22023 when it is none; NULL has none.';

CREATE OR REPLACE FUNCTION backfill.check_window(run_window text, zone text)
RETURNS void LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w record;
BEGIN
	PERFORM backfill.check_length('run_window', run_window, 100);
	w := backfill.parse_window(run_window, zone);
	IF w.starts IS NULL THEN
		RETURN;
	END IF;
	BEGIN
		-- Abbreviations are known to the first and not to the second:
		-- CEST is no zone but half the year of one.
		PERFORM now() AT TIME ZONE w.zone;
		PERFORM backfill.format_at(now(), w.zone);
	EXCEPTION WHEN invalid_parameter_value THEN
		RAISE EXCEPTION USING ERRCODE = '22023',
			MESSAGE = format('invalid run_window "%s"', run_window),
			DETAIL = format('Time zone "%s" is not known.', w.zone),
			HINT = 'See pg_timezone_names.';
	END;
END
$$;
COMMENT ON FUNCTION backfill.check_window(text, text) IS
	'Raises 22023 unless the text is a run_window whose zone is known; NULL passes.';

-- The wall clock runs on evenly but where the zone puts it forward or back:
-- a window may then open late, at that very moment, or twice, or not at all
-- on that day. So: without such a moment on the way, the time that is left
-- is the distance on the clock's face; else look again from that moment on.
CREATE OR REPLACE FUNCTION backfill.window_opens(run_window text, zone text,
	at timestamptz)
RETURNS timestamptz LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w record;
	moment timestamptz := at;
	wall timestamp;
	opens timestamptz;
	low timestamptz;
	middle timestamptz;
	is_open boolean;
BEGIN
	w := backfill.parse_window(run_window, zone);
	LOOP
		wall := moment AT TIME ZONE w.zone;
		is_open := CASE WHEN w.starts < w.ends
			THEN wall::time >= w.starts AND wall::time < w.ends
			ELSE wall::time >= w.starts OR wall::time < w.ends END;
		IF is_open IS NOT FALSE THEN
			RETURN nullif(moment, at);
		END IF;

		opens := moment + (w.starts - wall::time)
			+ CASE WHEN w.starts > wall::time THEN '0' ELSE '24:00' END
				::interval;
		IF (opens AT TIME ZONE w.zone) - wall = opens - moment THEN
			RETURN opens;
		END IF;
		low := moment;
		WHILE opens - low > '1s'::interval LOOP
			middle := low + (opens - low) / 2;
			IF (middle AT TIME ZONE w.zone) - wall = middle - moment THEN
				low := middle;
			ELSE
				opens := middle;
			END IF;
		END LOOP;
		moment := date_trunc('second', opens);
	END LOOP;
END
$$;
COMMENT ON FUNCTION backfill.window_opens(text, text, timestamptz) IS
	'NULL: at that moment the window is open (or it is NULL, and always open); else when it opens next. zone is that of a window that names none.';

CREATE OR REPLACE FUNCTION backfill.tell_window(run_window text, zone text,
	opens timestamptz)
RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	w record;
BEGIN
	w := backfill.parse_window(run_window, zone);
	RETURN format('%s-%s %s, which opens at %s', to_char(w.starts, 'HH24:MI'),
		to_char(w.ends, 'HH24:MI'), w.zone,
		backfill.format_at(opens, w.zone));
END
$$;
COMMENT ON FUNCTION backfill.tell_window(text, text, timestamptz) IS
	'A run_window and when it opens, for a reason.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA backfill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backfill.format_at(timestamptz, text),
	backfill.parse_window(text, text),
	backfill.tell_window(text, text, timestamptz),
	backfill.window_opens(text, text, timestamptz)
	TO backfill_submit, backfill_daemon, pg_monitor;
GRANT EXECUTE ON FUNCTION backfill.check_window(text, text)
	TO backfill_submit;

RESET ROLE;
