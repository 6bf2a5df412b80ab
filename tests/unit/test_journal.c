/* What the log says to a socket in the journal's place, and what it does when
 * nobody is there. */
#include "base/journal.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "cmocka_all.h"

static char dir[] = "/tmp/journal-test-XXXXXX";
static char path[64];
static int server = -1;
static FILE *stream; /* in place of standard error */
static int saved_stderr;

static void listen_at(const char *at)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", at);
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_true(server >= 0);
	assert_int_equal(
		bind(server, (struct sockaddr *)&address, sizeof address), 0);
}

static void unlisten(void)
{
	if (server >= 0) {
		close(server);
		server = -1;
	}
	(void)unlink(path);
}

static int setup(void **state)
{
	char name[64];
	struct stat st;

	(void)state;
	(void)snprintf(path, sizeof path, "%s/socket", dir);
	listen_at(path);
	stream = tmpfile();
	assert_non_null(stream);
	assert_int_equal(fstat(fileno(stream), &st), 0);
	(void)snprintf(name, sizeof name, "%llu:%llu",
		(unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", name, 1);
	saved_stderr = dup(2);
	assert_int_equal(dup2(fileno(stream), 2), 2);
	log_init(LOG_INFO);
	log_open_journal(path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)dup2(saved_stderr, 2);
	close(saved_stderr);
	fclose(stream);
	unsetenv("JOURNAL_STREAM");
	log_end();
	log_open_journal(NULL);
	log_set_format(LOG_TEXT);
	log_init(LOG_INFO);
	unlisten();
	return 0;
}

static int remove_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static int make_dir(void **state)
{
	(void)state;
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static const char *received(void)
{
	static char entry[4096];
	ssize_t length = recv(server, entry, sizeof entry - 1, 0);

	if (length < 0) {
		return NULL;
	}
	entry[length] = '\0';
	return entry;
}

static const char *printed(void)
{
	static char text[1024];
	size_t length;

	rewind(stream);
	length = fread(text, 1, sizeof text - 1, stream);
	text[length] = '\0';
	return text;
}

static const struct log_about about = {
	.database = "shop",
	.job = 42,
	.job_name = "orders.phone",
	.sqlstate = "40001",
};

static void test_an_entry_has_fields(void **state)
{
	(void)state;
	log_about(LOG_WARNING, &about, "fact -> decision");
	assert_string_equal(received(),
		"SYSLOG_IDENTIFIER=backfilld\n"
		"PRIORITY=4\n"
		"MESSAGE=job 42 (orders.phone): fact -> decision\n"
		"BACKFILLD_DATABASE=shop\n"
		"BACKFILLD_JOB_ID=42\n"
		"BACKFILLD_JOB_NAME=orders.phone\n"
		"BACKFILLD_SQLSTATE=40001\n");
	log_info("backfilld -> start");
	assert_string_equal(received(),
		"SYSLOG_IDENTIFIER=backfilld\n"
		"PRIORITY=6\n"
		"MESSAGE=backfilld -> start\n");
	assert_null(received());
	assert_string_equal(printed(), "");
}

/* As the protocol has it for values of several lines: the name, a length of
 * 64 bits, the bytes. No other field can be made out of a name. */
static void test_a_name_makes_no_field(void **state)
{
	static const char expected[] =
		"BACKFILLD_JOB_NAME\n\x0b\0\0\0\0\0\0\0a\nPRIORITY=\n";
	struct log_about hostile = { .job = 1, .job_name = "a\nPRIORITY=" };
	const char *at;

	(void)state;
	log_about(LOG_INFO, &hostile, "b");
	at = received();
	assert_non_null(strstr(at, "MESSAGE=job 1 (a PRIORITY=): b\n"));
	at = strstr(at, "BACKFILLD_JOB_NAME");
	assert_non_null(at);
	assert_memory_equal(at, expected, sizeof expected - 1);
}

static void test_json_is_the_message(void **state)
{
	const char *entry;

	(void)state;
	log_set_format(LOG_JSON);
	log_about(LOG_INFO, &about, "b");
	entry = received();
	assert_non_null(strstr(entry, "\nMESSAGE={\"time\":\""));
	assert_non_null(strstr(entry, "\"sqlstate\":\"40001\"}\n"));
	assert_non_null(strstr(entry, "\nBACKFILLD_JOB_ID=42\n"));
}

static void test_nobody_is_there(void **state)
{
	(void)state;
	unlisten();
	log_about(LOG_WARNING, &about, "fact -> decision");
	assert_string_equal(
		printed(), "<4>job 42 (orders.phone): fact -> decision\n");
	/* It is started again. */
	listen_at(path);
	log_info("b");
	assert_non_null(received());
}

/* Nobody reads: the loop must not wait for the journal. */
static void test_it_is_full(void **state)
{
	int sent = 0;

	(void)state;
	log_init(LOG_DEBUG);
	while (printed()[0] == '\0' && sent < 100000) {
		log_debug("%d", sent++);
	}
	assert_in_range(sent, 2, 99999);
	assert_memory_equal(printed(), "<7>", 3);
}

/* systemd knows the unit of standard error, but not that of a datagram whose
 * sender is gone. */
static void test_the_last_line_goes_by_standard_error(void **state)
{
	struct err e;

	(void)state;
	(void)err_set(&e, BFE_SQL, "it is so");
	log_fatal(&e);
	assert_null(received());
	assert_string_equal(printed(), "<3>it is so\n");
}

static void test_elsewhere_it_is_left_alone(void **state)
{
	(void)state;
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_init(LOG_INFO);
	log_info("b");
	assert_null(received());
	assert_non_null(strstr(printed(), " info: b\n"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_an_entry_has_fields),
		TEST(test_a_name_makes_no_field),
		TEST(test_json_is_the_message),
		TEST(test_nobody_is_there),
		TEST(test_it_is_full),
		TEST(test_the_last_line_goes_by_standard_error),
		TEST(test_elsewhere_it_is_left_alone),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
