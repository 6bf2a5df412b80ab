"use strict";
/* shop.js: what the browser's programs share: SQL, the daemon, the browser.
 * The servers are tests/bench/lib.sh's, in the directory $DIR; sql() is with
 * the rights of app. */

const { execFile, spawn } = require("node:child_process");
const fs = require("node:fs");
const net = require("node:net");
const path = require("node:path");
const { setTimeout: sleep } = require("node:timers/promises");

const root = path.join(__dirname, "..", "..");
const { chromium } = require(path.join(root,
	"build/npm/node_modules/playwright-core"));

const dir = process.env.DIR;
const DEADLINE_MS = 60e3;

/* Rejects with what psql says. */
function psql(user, port, sql, database = "shop") {
	return new Promise((resolve, reject) => {
		const child = execFile("psql", ["-X", "-q", "-At", "-v",
			"ON_ERROR_STOP=1", "-h", dir + "/s", "-p", port, "-U", user,
			"-d", database, "-f", "-"], { encoding: "utf8" },
		(error, stdout, stderr) => error
			? reject(new Error(stderr + " in: " + sql))
			: resolve(stdout.trim()));
		child.stdin.end(sql);
	});
}

const sql = (text, database) => psql("app", "5432", text, database);
const admin = (text, database) => psql("postgres", "5432", text, database);
const standby = (text) => psql("postgres", "5433", text);

/* A second database beside shop, with the schema and the same logins. */
async function add_database(name) {
	await admin("CREATE DATABASE " + name);
	await new Promise((resolve, reject) => execFile(dir + "/bin/backfillctl",
		["-h", dir + "/s", "-U", "postgres", "-d", name, "install"],
		(error) => error ? reject(error) : resolve()));
	await admin("GRANT CREATE ON SCHEMA public TO app", name);
}

/* Until it returns something true, which it resolves to. */
async function until(what, is_so, deadline_ms = DEADLINE_MS) {
	const end = Date.now() + deadline_ms;
	for (;;) {
		const found = await is_so();
		if (found) {
			return found;
		}
		if (Date.now() > end) {
			throw new Error("not so after " + deadline_ms / 1000 + " s: "
				+ what);
		}
		await sleep(30);
	}
}

function free_port() {
	return new Promise((resolve, reject) => {
		const server = net.createServer().on("error", reject);
		server.listen(0, "127.0.0.1", () => {
			const { port } = server.address();
			server.close(() => resolve(port));
		});
	});
}

/* ---- the daemon ---- */

let daemon = null, port = null;

const url = (rest = "/") => "http://127.0.0.1:" + port + rest;

/* more: databases, as lines of YAML. Resolves when the page is there. */
async function start_daemon(more = "", details = true) {
	port = port || await free_port();
	fs.writeFileSync(dir + "/backfilld.yaml", `databases:
  - name: shop
    dsn: "host=${dir}/s dbname=shop user=backfilld"
    expected_standbys: [standby1]
    workers: 4
${more}
pace: {max_replication_lag: 2s}
daemon: {lease: 5s}
http: {listen: "127.0.0.1:${port}", details: ${details}}
`);
	const log = fs.openSync(dir + "/daemon.log", "a");
	const command = [...(process.env.AS || "").split(" ").filter(Boolean),
		dir + "/bin/backfilld", "-c", dir + "/backfilld.yaml"];
	daemon = spawn(command[0], command.slice(1),
		{ stdio: ["ignore", "ignore", log] });
	fs.closeSync(log);
	daemon.ended = new Promise((resolve) => daemon.on("exit", resolve));
	await until("the page is there", () => fetch(url())
		.then((response) => response.ok, () => false));
}

async function stop_daemon(signal = "SIGTERM") {
	if (daemon && daemon.exitCode === null && daemon.signalCode === null) {
		daemon.kill(signal);
		await daemon.ended;
	}
	daemon = null;
}

/* ---- the browser ---- */

/* No sandbox: the pages are our own, and root has none. */
const open_browser = () => chromium.launch({ executablePath:
	process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"],
env: { ...process.env, HOME: dir + "/browser" } });

/* Whatever way the program ends, the daemon ends with it. */
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) {
	process.on(signal, () => process.exit(1));
}
process.on("exit", () => daemon && daemon.kill("SIGKILL"));

module.exports = { add_database, sql, admin, standby, until, url, start_daemon,
	stop_daemon, open_browser, root };
