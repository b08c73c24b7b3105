/* libmodsecurity: a transaction per request, up to and with the phase of request headers.
 *
 * usage: modsecurity RULES.conf REQUESTS
 * prints: nanoseconds per request, and how many requests a rule stopped */
#define _GNU_SOURCE
#include <modsecurity/modsecurity.h>
#include <modsecurity/rules_set.h>
#include <modsecurity/transaction.h>
#include <strings.h>
#include "requests.h"

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int count;
    const char *error = NULL;
    struct request *requests = heads(argv[2], &count);
    ModSecurity *engine = msc_init();
    RulesSet *rules = msc_create_rules_set();
    if (msc_rules_add_file(rules, argv[1], &error) < 0) { fprintf(stderr, "%s\n", error); return 1; }
    long calls = 0, stopped = 0;
    double start = now(), spent;
    do {
        for (int at = 0; at < count; at++, calls++) {
            const struct request *one = &requests[at];
            Transaction *transaction = msc_new_transaction(engine, rules, NULL);
            msc_process_connection(transaction, "192.0.2.7", 40000, "192.0.2.1", 80);
            msc_process_uri(transaction, one->target, one->method, "1.1");
            for (int header = 0; header < one->count; header++)
                msc_add_request_header(transaction, (const unsigned char *)one->headers[header].name,
                                       (const unsigned char *)one->headers[header].value);
            msc_process_request_headers(transaction);
            ModSecurityIntervention done = { 200, 0, NULL, NULL, 0 };
            stopped += msc_intervention(transaction, &done) != 0;
            msc_transaction_cleanup(transaction);
            spent = now() - start;
            if (spent > 1e9) { calls++; goto end; }
        }
    } while (spent < 2e8);
end:
    printf("request %.1f\nrefused %ld\n", spent / calls, stopped);
    return 0;
}
