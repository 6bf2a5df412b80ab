"use strict";
/* The dashboard, as a person meets it: a real browser, daemon, primary and
 * standby. What it should show is asked of the server, in SQL. Lines as
 * cmocka's. */

const assert = require("node:assert/strict");
const { sql, standby, until, url, start_daemon, stop_daemon, open_browser } =
	require("./shop.js");

const HOSTILE = [
	"<img src=x onerror=\"window.hit = 1\">",
	"'); DROP TABLE orders; --",
	"\"double\" 'single' \\back $$dollar$$ &amp; </script><script>hit()",
	"turned \u202etxt.exe\u202c and\nwith a\tsecond line\u200b",
	"long " + "x".repeat(900),
];
const STEERED = HOSTILE.slice(2, 4);
const CLAUSE = "note = '<svg onload=\"window.hit = 2\"></svg> \u202e"
	+ "z".repeat(4000) + "'";

const literal = (s) => "'" + s.replace(/'/g, "''") + "'";

let browser = null;

/* A page whose faults are kept in page.faults: errors, whatever the policy
 * refuses, dialogs. */
async function open(rest = "/", options = {}, before = null) {
	const context = await browser.newContext({ viewport: { width: 1280,
		height: 800 }, ...options });
	const page = await context.newPage();
	page.faults = [];
	page.answers = 0;
	page.on("console", (message) => ["error", "warning"].includes(
		message.type()) && page.faults.push(message.text()));
	page.on("pageerror", (error) => page.faults.push(error.stack));
	page.on("dialog", (dialog) => {
		page.faults.push("dialog: " + dialog.message());
		dialog.dismiss();
	});
	page.on("response", (response) => {
		page.answers += response.url().includes("status.json");
	});
	page.setDefaultTimeout(60e3);
	if (before) {
		await page.addInitScript(before);
	}
	await page.goto(url(rest));
	if (options.javaScriptEnabled !== false) {
		await page.waitForSelector("#app:not([hidden])");
	}
	return page;
}

async function close(page) {
	assert.deepEqual(page.faults, []);
	await page.context().close();
}

const row = (page, name) => page.locator(".jobs tbody",
	{ has: page.getByRole("link", { name, exact: false }) });

/* Two more answers are shown. */
async function two_polls(page) {
	const from = page.answers;
	await until("it polls", () => page.answers >= from + 3);
}

const id_of = (name) => sql("SELECT id FROM backfill.jobs WHERE name = "
	+ literal(name));

const submit = (columns) => sql("INSERT INTO backfill.jobs ("
	+ Object.keys(columns).join(", ") + ") VALUES ("
	+ Object.values(columns).map((value) => typeof value === "string"
		? literal(value) : value).join(", ") + ")");

const state_is = (name, state) => until(name + " is " + state, async () =>
	await sql("SELECT state FROM backfill.progress WHERE name = "
		+ literal(name)) === state);

async function set_up() {
	await sql(`CREATE TABLE orders (id bigint PRIMARY KEY, cents bigint);
		INSERT INTO orders (id) SELECT generate_series(1, 300000);
		CREATE TABLE notes (id bigint PRIMARY KEY, note text);
		INSERT INTO notes (id) SELECT generate_series(1, 500);
		CREATE TABLE parts (id bigint PRIMARY KEY,
			size integer CHECK (size <> 77));
		INSERT INTO parts (id) SELECT generate_series(1, 500);
		CREATE TABLE empty (id bigint PRIMARY KEY, a integer);
		ANALYZE orders, notes, parts, empty`);
	await start_daemon();
	await submit({ name: "orders.cents", target: "orders",
		set_clause: "cents = id * 100", where_clause: "cents IS NULL",
		max_rows_per_second: 400, batch_rows: 100, max_batch_rows: 100 });
	await submit({ name: "parts.size", target: "parts",
		set_clause: "size = id" });
	await submit({ name: "empty.a", target: "empty", set_clause: "a = 1" });
	for (const name of HOSTILE) {
		await submit({ name, target: "notes", set_clause: CLAUSE, hold: true });
	}
	await state_is("parts.size", "failed");
	await state_is("empty.a", "succeeded");
	await until("the first batches", async () => await sql(`SELECT
		rows_done > 200 FROM backfill.progress WHERE id = 1`) === "t");
}

/* ---- the tests, in this order ---- */

const tests = {};

tests.running_job_is_listed = async () => {
	const page = await open();
	const job = row(page, "#1 orders.cents");
	assert.equal(await job.locator(".badge").innerText(), "RUNNING");
	const shown_is_between = async () => {
		const before = await sql("SELECT percent FROM backfill.progress"
			+ " WHERE id = 1");
		await two_polls(page);
		const shown = +await job.getByRole("progressbar")
			.getAttribute("aria-valuenow");
		const after = await sql("SELECT percent FROM backfill.progress"
			+ " WHERE id = 1");
		return shown >= +before && shown <= +after && +after < 100;
	};
	assert.ok(await shown_is_between());
	assert.match(await job.innerText(), /public\.orders/);
	assert.match(await job.innerText(), /\d[\d.]*k? 5min/);
	assert.match(await job.innerText(), /to 300000/);
	assert.match(await page.locator(".tile").first().innerText(),
		/Running\s+1/);
	assert.match(await page.locator(".tile", { hasText: "Failed" })
		.innerText(), /1/);
	await close(page);
};

tests.no_row_is_done_and_a_failure_says_why = async () => {
	const page = await open();
	const empty = await row(page, "empty.a").innerText();
	assert.match(empty, /SUCCEEDED/);
	assert.match(empty, /0 changed/);
	const failed = await row(page, "parts.size").innerText();
	assert.match(failed, /FAILED/);
	assert.match(failed, /23514: new row for relation "parts" violates/);
	assert.match(failed, /at \d+\.\d%/);
	for (const shown of await page.locator("[role=progressbar]").all()) {
		const percent = await shown.getAttribute("aria-valuenow");
		assert.ok(percent === null || +percent <= 100);
	}
	await close(page);
};

/* In the page: how many answers it has got, and how many those were when it
 * first showed a job held for its limit of 1 s. Who asks from outside asks too
 * late where the machine is busy. */
function note_hold() {
	const heard = window.heard = { answers: 0, at_hold: null };
	const { fetch } = window;

	window.fetch = async (...args) => {
		const response = await fetch(...args);

		heard.answers += 1;
		return response;
	};
	new MutationObserver(() => {
		const is_held = [...document.querySelectorAll(".jobs .why")].some(
			(line) => line.textContent.includes(" s > 1 s on standby"));

		if (is_held && heard.at_hold === null) {
			heard.at_hold = heard.answers;
		}
	}).observe(document, { subtree: true, childList: true,
		characterData: true });
}

/* How long it took is told, not asserted: what is, is that it took no more
 * than two answers. */
tests.hold_is_shown_with_its_reason = async () => {
	const page = await open("/", {}, note_hold);
	const heard = () => page.evaluate(() => window.heard);
	const job = row(page, "#1 orders.cents");
	const limit = (value) => sql(`UPDATE backfill.jobs
		SET max_replication_lag = ${value} WHERE id = 1`);
	/* What is measured is how long the program takes, beside the limit. */
	await limit("'1s'");
	await standby("SELECT pg_wal_replay_pause()");
	const paused_at = Date.now();
	const reason = new RegExp("^held: replay lag [0-9.]+ s > 1 s on standby"
		+ " \"standby1\" -> goes on below 0\\.5 s$");
	await until("the job is held", async () => reason.test(await sql(`SELECT
		reason FROM backfill.progress WHERE id = 1`)));
	const held_at = Date.now(), from = (await heard()).answers;
	const line = job.locator(".why");
	await until("the reason is shown", async () => reason.test(
		await line.innerText()));
	console.log("shown " + (Date.now() - held_at) + " ms after it was in"
		+ " backfill.progress, " + (Date.now() - paused_at) + " ms after the"
		+ " standby was paused (max_replication_lag 1 s)");
	const { at_hold } = await heard();
	assert.ok(at_hold !== null && at_hold - from <= 2);
	assert.equal(await job.locator(".badge").innerText(), "HELD");
	assert.match(await job.innerText(), /once it goes on/);
	assert.match(await page.locator(".tile", { hasText: "Held" })
		.innerText(), /1/);
	assert.match(await page.locator(".gauge").innerText(), /holds/);
	assert.match(await page.title(), /1 held/);

	/* What the daemon keeps of it, every 10 s, is shaded. */
	const lone = await open("/#/shop/1");
	await until("the time of the hold is shaded", async () =>
		(await lone.locator("svg rect").evaluateAll((all) => all.map((r) =>
			+r.getAttribute("width") > 1.5
			&& r.querySelector("title").textContent)))
			.some((title) => /^lag for \d+s$/.test(title)));
	assert.match(await lone.locator("#job").innerText(), /for lag/);
	await close(lone);

	await standby("SELECT pg_wal_replay_resume()");
	await until("it is shown running", async () =>
		await job.locator(".badge").innerText() === "RUNNING");
	await limit("NULL");
	await close(page);
};

tests.page_of_a_job = async () => {
	const page = await open("/#/shop/1");
	assert.equal(await page.locator("h2#job-name").innerText(),
		"#1 orders.cents");
	await until("three charts are drawn", async () =>
		(await page.locator("svg path").evaluateAll((all) => all.filter((p) =>
			/^M[-\d. L]+L/.test(p.getAttribute("d") || "")))).length === 3);
	const shown = await page.locator("#job").innerText();
	for (const wanted of [/set_clause\s+cents = id \* 100/,
		/max_rows_per_second\s+400/,
		/lock_timeout\s+default \(the configuration\)/,
		/on_row_error\s+stop \(default\)/, /run_as\s+app/,
		/elapsed\s+\d/, /worked\s+\d/, /held\s+\d/, /submitted\s+run_as app/,
		/median \d+ms, p95 \d+ms/, /standby1/]) {
		assert.match(shown, wanted);
	}
	assert.doesNotMatch(shown, /http\.details/);
	await page.goto(url("/#/shop/" + await id_of("parts.size")));
	await until("the failure is shown", async () => /SQLSTATE\s+23514\s+message/
		.test(await page.locator("#job").innerText()));
	await page.goto(url("/#/shop/4711"));
	await until("an unknown job is told", async () => /No job 4711 in shop/
		.test(await page.locator("#job").innerText()));
	await page.getByRole("link", { name: "all jobs" }).click();
	await row(page, "#1 orders.cents").waitFor();
	await close(page);
};

tests.hostile_texts_are_inert = async () => {
	const page = await open();
	const elements = () => page.evaluate(() => [window.hit,
		document.querySelectorAll("img, iframe, object, svg[onload]").length,
		document.scripts.length,
		document.documentElement.scrollWidth > innerWidth]);
	for (const name of HOSTILE) {
		const id = await id_of(name);
		await page.locator("#open a[href='#/shop/" + id + "']").waitFor();
		assert.deepEqual(await elements(), [undefined, 0, 1, false]);
	}
	for (const name of HOSTILE) {
		const id = await id_of(name);
		await page.goto(url("/#/shop/" + id));
		await until("its page", async () => (await page.locator("#job-name")
			.textContent()).startsWith("#" + id + " ") && /svg onload/
			.test(await page.locator("#job").textContent()));
		const shown = await page.locator("#job-name").textContent();
		assert.equal(shown, "#" + id + " " + name
			.replace(/\u202e/g, "\\u202E").replace(/\u202c/g, "\\u202C")
			.replace(/\u200b/g, "\\u200B"));
		assert.deepEqual(await elements(), [undefined, 0, 1, false]);
		assert.doesNotMatch(await page.locator("body").textContent(),
			/[\u202a-\u202e\u200b]/);
	}
	await close(page);
};

/* By the button and the clipboard, into psql. */
async function copied(page, verb) {
	const button = page.getByRole("button", { name: "Copy the SQL for "
		+ verb });
	await button.waitFor();
	await page.evaluate(() => navigator.clipboard.writeText(""));
	await button.click();
	return until("the SQL is copied", () => page.evaluate(() =>
		navigator.clipboard.readText()));
}

tests.sql_to_copy_does_what_it_says = async () => {
	const page = await open("/", { permissions: ["clipboard-read",
		"clipboard-write"] });
	for (const name of HOSTILE) {
		await page.goto(url("/#/shop/" + await id_of(name)));
		await until("its page", async () => (await page.locator("#job-name")
			.textContent()).startsWith("#" + await id_of(name) + " "));
		assert.equal((await sql(await copied(page, "look"))).split("|")[0],
			await id_of(name));
		if (!STEERED.includes(name)) {
			continue;
		}
		await sql("UPDATE notes SET note = NULL");
		await sql(await copied(page, "pause"));
		assert.equal(await sql(`SELECT state || ' ' || reason FROM
			backfill.jobs WHERE name = ` + literal(name)),
		"paused paused by app: why");
		await sql(await copied(page, "resume"));
		await state_is(name, "queued");
		const retune = await copied(page, "retune");
		await sql(retune.replace("max_rows_per_second = NULL",
			"max_rows_per_second = 12345")
			.replace("max_replication_lag = NULL",
				"max_replication_lag = '7s'"));
		const tuned = `SELECT max_rows_per_second || ' '
			|| max_replication_lag || ' ' || priority FROM backfill.jobs
			WHERE name = ` + literal(name);
		assert.equal(await sql(tuned), "12345 00:00:07 0");
		/* What it shows by then, run as it is, changes nothing. */
		await until("the settings are shown", async () =>
			/max_replication_lag = '00:00:07'/.test(await page.locator("#job")
				.textContent()));
		await sql(await copied(page, "retune"));
		assert.equal(await sql(tuned), "12345 00:00:07 0");
		await sql(await copied(page, "approve"));
		await state_is(name, "succeeded");
		assert.equal(await sql("SELECT count(*) FROM notes WHERE note LIKE"
			+ " '<svg onload%'"), "500");
	}
	const failed = await id_of("parts.size");
	await sql("UPDATE parts SET id = 5000 WHERE id = 77");
	await page.goto(url("/#/shop/" + failed));
	await sql(await copied(page, "retry"));
	await state_is("parts.size", "succeeded");
	await close(page);
};

tests.copies_without_a_clipboard = async () => {
	const page = await open("/#/shop/1", { permissions: ["clipboard-read"] },
		() => Object.defineProperty(navigator, "clipboard",
			{ value: undefined }));
	await page.getByRole("button", { name: "Copy the SQL for pause" }).click();
	assert.equal(await page.evaluate(() => getSelection().toString()),
		"SELECT backfill.pause('orders.cents', 'why');");
	await close(page);
};

tests.keys_are_enough = async () => {
	await submit({ name: "notes.again", target: "notes",
		set_clause: "note = 'x'", hold: true });
	const page = await open();
	const focused = () => page.evaluate(() => [document.activeElement.id,
		document.activeElement.textContent]);
	await row(page, "notes.again").waitFor();
	const links = await page.locator("#open a").allTextContents();
	await page.keyboard.press("/");
	assert.equal((await focused())[0], "filter");
	await page.keyboard.type("PARTS failed");
	assert.equal(await page.locator("#open tbody").count(), 0);
	await page.keyboard.press("Escape");
	assert.equal(await page.locator("#open tbody").count(), links.length);
	await page.keyboard.press("j");
	assert.match((await focused())[1], /^#1 orders\.cents/);
	assert.notEqual(await page.evaluate(() => getComputedStyle(
		document.activeElement).outlineStyle), "none");
	await page.keyboard.press("j");
	assert.equal((await focused())[1], links[1]);
	await page.keyboard.press("k");
	await page.keyboard.press("Enter");
	await until("the job's page has the focus", async () =>
		(await focused())[0] === "job-name");
	await page.keyboard.press("Escape");
	await row(page, "notes.again").waitFor();
	assert.match((await focused())[1], /^#1 orders\.cents/);
	await page.keyboard.press("?");
	assert.ok(await page.getByRole("dialog").isVisible());
	await page.keyboard.press("Escape");
	assert.ok(!await page.getByRole("dialog").isVisible());
	await page.getByRole("button", { name: "held" }).click();
	assert.equal(await page.locator("#open tbody").count(), 0);
	assert.match(await page.locator("#open-none").innerText(), /No open job/);
	await close(page);
};

tests.nothing_is_redrawn = async () => {
	const page = await open();
	await row(page, "#1 orders.cents").waitFor();
	await page.evaluate(() => {
		const link = document.querySelector("#open a");
		window.marked = [link, link.closest("tbody"),
			document.querySelector("#events td")];
		link.focus();
		getSelection().selectAllChildren(link);
	});
	const before = await page.locator("#open tbody").first().innerText();
	await two_polls(page);
	assert.notEqual(await page.locator("#open tbody").first().innerText(),
		before);
	assert.deepEqual(await page.evaluate(() => [window.marked.every((node) =>
		node.isConnected), document.activeElement === window.marked[0],
	getSelection().toString()]), [true, true, "#1 orders.cents"]);
	await close(page);
};

/* Another page tells how time goes by. */
tests.asks_nothing_while_hidden = async () => {
	const page = await open(), other = await open();
	const hide = (is_hidden) => page.evaluate((hidden) => {
		Object.defineProperty(document, "hidden",
			{ value: hidden, configurable: true });
		document.dispatchEvent(new Event("visibilitychange"));
	}, is_hidden);
	await hide(true);
	await two_polls(other);
	const from = page.answers;
	await two_polls(other);
	assert.ok(page.answers <= from);
	await hide(false);
	await until("it asks at once", () => page.answers > from);
	await close(page);
	await close(other);
};

/* The ratio of WCAG 2.1, 1.4.3, of what is seen on what. */
function contrasts() {
	const channel = (c) => c <= 0.04045 ? c / 12.92
		: ((c + 0.055) / 1.055) ** 2.4;
	const luminance = (colour) => {
		const [r, g, b] = colour.match(/[\d.]+/g).map((n) => channel(n / 255));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const ground = (node) => {
		const found = getComputedStyle(node).backgroundColor;
		return /^rgb\(/.test(found) || !node.parentElement ? found
			: ground(node.parentElement);
	};
	return [...document.querySelectorAll("td div, th, dt, dd b, .badge, h2,"
		+ " button, .why div, #heard, pre")].filter((node) =>
		node.checkVisibility() && node.textContent).map((node) => {
		const pair = [getComputedStyle(node).color, ground(node)]
			.map(luminance).sort((a, b) => b - a);
		return [(pair[0] + 0.05) / (pair[1] + 0.05), node.outerHTML];
	}).filter(([ratio]) => !(ratio >= 4.5));
}

tests.light_and_dark_and_narrow = async () => {
	const grounds = [];
	for (const colorScheme of ["light", "dark"]) {
		const page = await open("/", { colorScheme });
		for (const rest of ["/#/", "/#/shop/1", "/#/shop/2"]) {
			await page.goto(url(rest));
			await page.locator(rest === "/#/" ? "#open tbody" : "#job .sql")
				.first().waitFor();
			for (const width of [360, 800, 1280]) {
				await page.setViewportSize({ width, height: 700 });
				assert.deepEqual(await page.evaluate(contrasts), []);
				assert.ok(await page.evaluate(() => document
					.documentElement.scrollWidth <= innerWidth), rest);
			}
		}
		grounds.push(await page.evaluate(() => getComputedStyle(
			document.documentElement).backgroundColor));
		await close(page);
	}
	assert.notEqual(grounds[0], grounds[1]);
	const page = await open("/", { colorScheme: "light" });
	const ground = () => page.evaluate(() => getComputedStyle(
		document.documentElement).backgroundColor);
	assert.equal(await ground(), grounds[0]);
	await page.getByRole("button", { name: "dark colours" }).click();
	assert.equal(await ground(), grounds[1]);
	await page.reload();
	await page.waitForSelector("#app:not([hidden])");
	assert.equal(await ground(), grounds[1]);
	await close(page);
};

tests.works_without_storage = async () => {
	const page = await open("/", {}, () => Object.defineProperty(window,
		"localStorage", { get: () => {
			throw new DOMException("denied", "SecurityError");
		} }));
	await page.keyboard.press("t");
	await row(page, "#1 orders.cents").waitFor();
	await close(page);
};

tests.everything_has_a_name = async () => {
	const roles = ["button", "link", "searchbox", "textbox", "progressbar",
		"meter", "image", "img", "table", "dialog", "heading"];
	for (const rest of ["/", "/#/shop/1"]) {
		const page = await open(rest);
		await page.locator(rest === "/" ? "#open tbody" : "#job .sql").first()
			.waitFor();
		const client = await page.context().newCDPSession(page);
		const { nodes } = await client.send("Accessibility.getFullAXTree");
		const seen = nodes.filter((node) => !node.ignored
			&& roles.includes(node.role.value));
		assert.ok(seen.length > 12);
		assert.deepEqual(seen.filter((node) => !node.name.value)
			.map((node) => node.role.value), []);
		const levels = await page.locator("h1, h2, h3").evaluateAll((all) =>
			all.filter((h) => h.checkVisibility()).map((h) => +h.tagName[1]));
		assert.equal(levels[0], 1);
		assert.ok(levels.every((level, i) => i === 0
			|| level <= levels[i - 1] + 1));
		assert.equal(await page.getByRole("main").count(), 1);
		await close(page);
	}
};

tests.plain_table_without_javascript = async () => {
	const page = await open("/", { javaScriptEnabled: false });
	const body = await page.locator("main#plain").innerText();
	assert.match(body, /orders\.cents/);
	assert.match(body, /running/);
	assert.match(body, /<img src=x onerror=/);
	assert.doesNotMatch(body, /[\u202a-\u202e]/);
	assert.equal(await page.locator("img").count(), 0);
	assert.ok(await page.locator("#app").isHidden());
	assert.ok(await page.locator("main#plain table th").count() > 3);
	assert.deepEqual(await page.locator("button").evaluateAll((all) =>
		all.filter((b) => b.checkVisibility()).length), 0);
	await close(page);
};

tests.stop_all_is_told = async () => {
	const page = await open();
	await until("it runs", async () => await row(page, "#1 orders.cents")
		.locator(".badge").innerText() === "RUNNING");
	const admin = require("./shop.js").admin;
	await admin("SELECT backfill.stop_all('<b>incident</b> 4711')");
	await until("the stop is told", async () =>
		/shop: all work is stopped by postgres since .*: <b>incident<\/b> 4711/
			.test(await page.getByRole("alert").innerText()));
	await admin("SELECT backfill.start_all()");
	await until("and its end", async () =>
		await page.locator(".warning").count() === 0);
	await close(page);
};

/* The page is the same one: its variable is there afterwards. */
tests.daemon_may_restart = async () => {
	const page = await open();
	const heard = page.locator("#heard");
	await page.evaluate(() => {
		window.same = true;
	});
	assert.equal(await heard.innerText(), "live");
	await stop_daemon("SIGKILL");
	await until("silence is told", async () =>
		/^last heard \d+s ago: the daemon does not answer$/
			.test(await heard.innerText()));
	assert.match(await heard.getAttribute("class"), /late/);
	await row(page, "#1 orders.cents").waitFor();
	const done = () => sql("SELECT rows_done FROM backfill.progress"
		+ " WHERE id = 1");
	const before = +await done();
	await start_daemon();
	await until("it is live again", async () =>
		await heard.innerText() === "live");
	await until("the job goes on", async () => +await done() > before);
	await until("and is shown running", async () =>
		await row(page, "#1 orders.cents").locator(".badge").innerText()
			=== "RUNNING");
	assert.equal(await page.evaluate(() => window.same), true);
	/* The browser itself notes each request that failed. */
	page.faults = page.faults.filter((fault) =>
		!/Failed to load resource: net::ERR_/.test(fault));
	await close(page);
};

tests.several_databases = async () => {
	await stop_daemon();
	await start_daemon(`  - name: none
    dsn: "host=${process.env.DIR}/s dbname=none user=backfilld"
    expected_standbys: []`);
	const page = await open();
	await until("what is the matter with one is told", async () =>
		/none: .*database "none" does not exist/
			.test(await page.getByRole("alert").innerText()));
	assert.match(await row(page, "#1 orders.cents").innerText(),
		/shop: update public\.orders/);
	await close(page);
};

tests.without_details = async () => {
	await stop_daemon();
	await start_daemon("", false);
	const page = await open("/#/shop/1");
	await until("it is told what shows them", async () =>
		/shown with http\.details: true\./
			.test(await page.locator("#job").innerText()));
	const shown = await page.locator("#job").innerText();
	assert.match(shown, /run_as\s+app/);
	assert.doesNotMatch(shown, /set_clause|cents = id/);
	await close(page);
};

async function main() {
	let failures = 0;
	await set_up();
	browser = await open_browser();
	const wanted = process.argv.slice(2);
	for (const [name, test] of Object.entries(tests)) {
		if (wanted.length && !wanted.includes(name)) {
			continue;
		}
		console.log("[ RUN      ] " + name);
		const began_at = Date.now();
		try {
			await test();
			console.log("[       OK ] " + name);
			console.log("in " + (Date.now() - began_at) / 1000 + " s");
		} catch (error) {
			failures++;
			console.log(error.stack + "\n[  FAILED  ] " + name);
			if (process.env.SCREENS) {
				const page = browser.contexts().flatMap((c) => c.pages()).pop();
				await page?.screenshot({ path: process.env.SCREENS + "/" + name
					+ ".png", fullPage: true });
			}
		}
		await Promise.all(browser.contexts().map((c) => c.close()));
	}
	await browser.close();
	await stop_daemon();
	process.exitCode = failures ? 1 : 0;
}

main().catch((error) => {
	console.log(error.stack + "\n[  FAILED  ] dashboard");
	process.exit(1);
});
