DROP FUNCTION IF EXISTS backfill.tell_samples(bigint, text, text[],
	double precision[], double precision, boolean[], text[]);
DROP FUNCTION IF EXISTS backfill.share(bigint, integer, bigint,
	double precision, bigint);
DROP FUNCTION IF EXISTS backfill.standbys(text[]);
