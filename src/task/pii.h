/* pii.h: personal data that rules can find: where it stands, what it is, how sure the rule is.
 *
 *     ng_pii_spans found = {0};
 *     if (ng_pii_scan(&found, text, len, NG_PII_ALL, &err)) ..
 *     for (size_t i = 0; i < found.len; i++) use(found.items[i].start, found.items[i].end);
 *     ng_pii_spans_clear(&found);
 *
 * Spans are byte offsets, in order, and never overlap.  Any bytes are accepted, invalid UTF-8 too.
 * Time is linear in len (each rule looks a bounded distance around a candidate), memory in the
 * number of spans.  Stateless: calls are thread-safe.  Names of people, organisations and places are
 * not rules' work and are not found here. */
#ifndef NG_TASK_PII_H
#define NG_TASK_PII_H

#include <nanogrid/status.h>

/* X(NAME, "label in output", score) in the order of rank: where two overlap, the earlier stays.
 * Checksummed kinds lead.  The score is the share of right spans among those found on the tuning
 * templates of pii_presidio (recipes/pii.yaml), smoothed as (right + 1) / (found + 2); kinds that the
 * set lacks (mac) have the score of the format's own redundancy, documented in docs/pii.md. */
#define NG_PII_TYPES(X)                                                                            \
    X(IBAN, "iban", 0.944f)                                                                         \
    X(CARD, "card", 0.989f)                                                                         \
    X(EMAIL, "email", 0.971f)                                                                       \
    X(URL, "url", 0.966f)                                                                           \
    X(IP, "ip", 0.938f)                                                                             \
    X(MAC, "mac", 0.9f)                                                                            \
    X(SSN, "ssn", 0.944f)                                                                           \
    X(ADDRESS, "location", 0.9f)                                                                   \
    X(DATE, "date", 0.991f)                                                                         \
    X(PHONE, "phone", 0.983f)

typedef enum ng_pii_type {
#define NG_PII_ENUM(name, label, score) NG_PII_##name,
    NG_PII_TYPES(NG_PII_ENUM)
#undef NG_PII_ENUM
    NG_PII_TYPE_COUNT
} ng_pii_type;

enum { NG_PII_ALL = (1 << NG_PII_TYPE_COUNT) - 1 };

typedef struct ng_pii_span {
    size_t start, end;
    ng_pii_type type;
} ng_pii_span;

typedef struct ng_pii_spans {
    ng_pii_span *items;
    size_t len, cap;
} ng_pii_spans;

/* Replaces what *out held.  `types` is a mask of 1 << NG_PII_x: it only filters, so what is found
 * does not depend on it. */
ng_status ng_pii_scan(ng_pii_spans *out, const char *text, size_t len, uint32_t types,
                      ng_error *err) NG_MUST_USE;
void ng_pii_spans_clear(ng_pii_spans *s);
/* Whether a text may hold an address or a number of somebody that no rule proves: seven digits in a run that are no date, an
 * e-mail address spelled out.  Wider than ng_pii_scan on purpose: for deciding where a text may go.  Linear time, no memory. */
bool ng_pii_suspected(const char *text, size_t len);

const char *ng_pii_label(ng_pii_type t);
float ng_pii_score(ng_pii_type t);
/* False for a label that no rule gives. */
bool ng_pii_parse(ng_pii_type *out, const char *label);
/* "iban, card, ..": for messages. */
const char *ng_pii_labels(void);

#endif
