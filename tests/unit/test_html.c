/* test_html.c: texts stay texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/html.h"

static void assert_html(const char *s, const char *expected)
{
	struct text t;

	text_init(&t);
	html_add_text(&t, s);
	assert_string_equal(t.data, expected);
	text_close(&t);
}

static void test_markup(void **state)
{
	(void)state;
	assert_html("", "");
	assert_html("plain", "plain");
	assert_html("<script>alert('1')</script>",
		"&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;");
	assert_html("\" onload=\"x", "&quot; onload=&quot;x");
	assert_html("&lt;", "&amp;lt;");
}

static void test_what_is_no_text(void **state)
{
	(void)state;
	assert_html("caf\xc3\xa9 \xe2\x82\xac", "caf\xc3\xa9 \xe2\x82\xac");
	assert_html("\x01\x7f", "\xef\xbf\xbd\xef\xbf\xbd");
	assert_html("a\tb\nc", "a\tb\nc");
	/* Half a character must not swallow what follows it. */
	assert_html("\xc3<", "\xef\xbf\xbd&lt;");
	assert_html("\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd");
	assert_html("\xc2\x85", "\xef\xbf\xbd");
	/* U+202E, which would have the rest read from the right. */
	assert_html("a\xe2\x80\xae"
		    "b",
		"a\xef\xbf\xbd"
		"b");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_markup),
		cmocka_unit_test(test_what_is_no_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
