/* roles.h: what an English word does in a sentence, as far as the word alone tells.
 *
 *     unsigned r = ng_word_roles("every");
 *     if (r & NG_ROLE_QUANTIFIER) ..
 *
 * For telling apart what a change of a word changes (alike.h): the names of things and deeds have no role, small words have.  Roles
 * from NG_ROLE_ARTICLE to NG_ROLE_FILLER are classes: one word may stand for another of its class without much harm. */
#ifndef NG_TEXT_ROLES_H
#define NG_TEXT_ROLES_H

enum {
    NG_ROLE_STOP = 1,        /* no content of its own */
    NG_ROLE_ARTICLE = 2,     /* a, the, these */
    NG_ROLE_AUXILIARY = 4,   /* is, has, did, to */
    NG_ROLE_PLACE = 8,       /* in, on, at */
    NG_ROLE_OF = 16,         /* of, for */
    NG_ROLE_MODAL = 32,      /* can, would */
    NG_ROLE_WHICH = 64,      /* what, which */
    NG_ROLE_MANY = 128,      /* many, much */
    NG_ROLE_EXPLETIVE = 256, /* there, it */
    NG_ROLE_FILLER = 512,    /* just, please, so */
    NG_ROLE_QUANTIFIER = 1024, /* all, only, before: says of how much or when */
    NG_ROLE_NEGATION = 2048,
    NG_ROLE_ASKS = 4096,     /* begins a question or an order: what, is, translate */
    NG_ROLE_WANTS = 8192,    /* "I want", "I'd like" */
};
#define NG_ROLES_CLASSES 0x3feu
/* Classes whose words may also come and go beside others. */
#define NG_ROLES_LIGHT (NG_ROLE_ARTICLE | NG_ROLE_AUXILIARY | NG_ROLE_EXPLETIVE | NG_ROLE_FILLER)

unsigned ng_word_roles(const char *word); /* in lower case; 0: none is known */

#endif
