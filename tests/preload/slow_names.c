/* slow_names.c: a shared object for LD_PRELOAD. Each lookup of a name that
 * ends in ".slow.test" takes 5 s and finds 127.0.0.1, as with a name server
 * that does not answer and another one that does. */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

typedef int lookup_fn(const char *, const char *, const struct addrinfo *,
	struct addrinfo **);

static int is_slow(const char *node)
{
	static const char suffix[] = ".slow.test";
	size_t length = node != NULL ? strlen(node) : 0;

	return length >= sizeof suffix &&
		strcmp(node + length - (sizeof suffix - 1), suffix) == 0;
}

int getaddrinfo(const char *restrict node, const char *restrict service,
	const struct addrinfo *restrict hints,
	struct addrinfo **restrict result)
{
	void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
	lookup_fn *real;

	memcpy(&real, &symbol, sizeof real);
	if (!is_slow(node)) {
		return real(node, service, hints, result);
	}
	(void)sleep(5);
	return real("127.0.0.1", service, hints, result);
}
