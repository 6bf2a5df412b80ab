"use strict";
/* picture.js FILE: the picture of the dashboard in the README, of a real run:
 * a standby that lags holds the jobs of one database, not of the other. */

const { add_database, sql, standby, until, url, start_daemon, stop_daemon, open_browser } =
	require("./shop.js");

const is_so = (what, text, database) => until(what, async () => await sql(
	"SELECT " + text + " FROM backfill.progress", database) === "t", 180e3);

async function run_jobs() {
	await add_database("crm");
	await sql(`CREATE TABLE contacts (id bigint PRIMARY KEY, phone text,
			phone_e164 text);
		INSERT INTO contacts (id, phone) SELECT n, '0171 ' || n
			FROM generate_series(1, 900000) n;
		ANALYZE contacts`, "crm");
	await sql(`CREATE TABLE users (id bigint PRIMARY KEY, email text,
			email_norm text);
		INSERT INTO users (id, email) SELECT n, 'User' || n || '@Example.org'
			FROM generate_series(1, 150000) n;
		CREATE TABLE invoices (id bigint PRIMARY KEY, net bigint, tax bigint);
		INSERT INTO invoices (id, net)
			SELECT n, n FROM generate_series(1, 90000) n;
		CREATE TABLE parts (id bigint PRIMARY KEY, weight integer,
			CONSTRAINT parts_weight_check CHECK (weight < 60000));
		INSERT INTO parts (id) SELECT generate_series(1, 80000);
		CREATE TABLE countries (id bigint PRIMARY KEY, code text);
		INSERT INTO countries (id) SELECT generate_series(1, 240);
		ANALYZE users, invoices, parts, countries`);
	await start_daemon(`  - name: crm
    dsn: "host=${process.env.DIR}/s dbname=crm user=backfilld"
    expected_standbys: []`);
	await sql(`INSERT INTO backfill.jobs (name, target, set_clause,
			where_clause, max_rows_per_second) VALUES
		('contacts.phone_e164', 'contacts',
			'phone_e164 = ''+49'' || substr(phone, 2)',
			'phone_e164 IS NULL', 12000)`, "crm");
	await sql(`INSERT INTO backfill.jobs (name, target, set_clause,
			where_clause, max_rows_per_second) VALUES
		('users.email_norm', 'users', 'email_norm = lower(email)',
			'email_norm IS NULL', 2500),
		('invoices.tax', 'invoices', 'tax = net * 19 / 100',
			'tax IS NULL', 1500),
		('parts.weight', 'parts', 'weight = id', NULL, NULL),
		('countries.code', 'countries', 'code = ''XX''', NULL, NULL)`);
	await sql(`INSERT INTO backfill.jobs (name, kind, target, object_name,
			depends_on) SELECT 'users.email_norm_not_null', 'set_not_null',
			'users', 'email_norm', ARRAY[id] FROM backfill.jobs
		WHERE name = 'users.email_norm'`);
	await is_so("one has failed, one succeeded, two have begun",
		`count(*) FILTER (WHERE state = 'failed') = 1
		AND count(*) FILTER (WHERE state = 'succeeded') = 1
		AND count(*) FILTER (WHERE percent > 12) >= 2`);
	await sql("SELECT backfill.pause('invoices.tax', 'month end')");
	await is_so("it has come far", "bool_or(percent > 35)", "crm");
	await standby("SELECT pg_wal_replay_pause()");
	await is_so("one is held", "bool_or(reason ~ "
		+ "'^held: replay lag ([3-9]|[0-9]{2})')");
}

async function main(file) {
	await run_jobs();
	const browser = await open_browser();
	const page = await browser.newPage({ colorScheme: "dark",
		viewport: { width: 1280, height: 800 } });
	await page.goto(url());
	await until("the page shows it", async () => {
		const shown = await page.locator("#open .badge").allInnerTexts();
		return ["RUNNING", "HELD", "PAUSED", "QUEUED"].every((state) =>
			shown.includes(state));
	});
	await page.screenshot({ path: file });
	await browser.close();
	await stop_daemon();
}

main(process.argv[2]).catch((error) => {
	console.error(error.stack);
	process.exit(1);
});
