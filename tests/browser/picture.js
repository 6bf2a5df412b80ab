"use strict";
/* picture.js FILE: the picture of the dashboard in the README, of a real run:
 * a standby that lags holds one job, and not the one that may let it. */

const { sql, standby, until, url, start_daemon, stop_daemon, open_browser } =
	require("./shop.js");

const is_so = (what, text) => until(what, async () => await sql("SELECT "
	+ text + " FROM backfill.progress") === "t", 180e3);

async function run_jobs() {
	await sql(`CREATE TABLE orders (id bigint PRIMARY KEY,
			amount numeric(12,2), amount_cents bigint);
		INSERT INTO orders (id, amount)
			SELECT n, n / 100.0 FROM generate_series(1, 900000) n;
		CREATE TABLE users (id bigint PRIMARY KEY, email text,
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
		ANALYZE orders, users, invoices, parts, countries`);
	await start_daemon();
	await sql(`INSERT INTO backfill.jobs (name, target, set_clause,
			where_clause, max_rows_per_second, max_replication_lag,
			priority, depends_on) VALUES
		('orders.amount_cents', 'orders', 'amount_cents = amount * 100',
			'amount_cents IS NULL', 9000, '1h', 5, NULL),
		('users.email_norm', 'users', 'email_norm = lower(email)',
			'email_norm IS NULL', 2500, NULL, 0, NULL),
		('invoices.tax', 'invoices', 'tax = net * 19 / 100',
			'tax IS NULL', 1500, NULL, 0, NULL),
		('parts.weight', 'parts', 'weight = id', NULL, NULL, NULL, 0, NULL),
		('countries.code', 'countries', 'code = ''XX''', NULL, NULL, NULL, 0,
			NULL)`);
	await sql(`INSERT INTO backfill.jobs (name, kind, target, object_name,
			depends_on) SELECT 'users.email_norm_not_null', 'set_not_null',
			'users', 'email_norm', ARRAY[id] FROM backfill.jobs
		WHERE name = 'users.email_norm'`);
	await is_so("one has failed, one succeeded, the others have begun",
		`count(*) FILTER (WHERE state = 'failed') = 1
		AND count(*) FILTER (WHERE state = 'succeeded') = 1
		AND count(*) FILTER (WHERE percent > 15) >= 3`);
	await sql("SELECT backfill.pause('invoices.tax', 'month end')");
	await standby("SELECT pg_wal_replay_pause()");
	await is_so("one is held, one has come far", `bool_or(reason ~
		'^held: replay lag ([4-9]|[0-9]{2})') AND bool_or(state = 'running'
		AND waits_for IS NULL AND percent > 40)`);
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
