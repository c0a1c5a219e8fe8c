/* roles.c: see roles.h.  A sorted list, found by halving. */
#include "roles.h"

#include <stddef.h>
#include <string.h>

enum {
    STOP = NG_ROLE_STOP, ARTICLE = NG_ROLE_ARTICLE, AUXILIARY = NG_ROLE_AUXILIARY, PLACE = NG_ROLE_PLACE, OF = NG_ROLE_OF, MODAL = NG_ROLE_MODAL,
    WHICH = NG_ROLE_WHICH, MANY = NG_ROLE_MANY, EXPLETIVE = NG_ROLE_EXPLETIVE, FILLER = NG_ROLE_FILLER, QUANTIFIER = NG_ROLE_QUANTIFIER, NEGATION = NG_ROLE_NEGATION,
    ASKS = NG_ROLE_ASKS, WANTS = NG_ROLE_WANTS,
};

static const struct {
    const char *word;
    unsigned roles;
} known[] = { /* by strcmp */
    {"a", STOP | ARTICLE}, {"about", STOP}, {"add", ASKS}, {"after", QUANTIFIER}, {"against", QUANTIFIER},
    {"all", QUANTIFIER}, {"also", STOP | FILLER}, {"always", QUANTIFIER}, {"am", STOP | AUXILIARY | ASKS},
    {"an", STOP | ARTICLE}, {"and", STOP | FILLER}, {"another", STOP}, {"answer", ASKS}, {"any", STOP | ARTICLE},
    {"are", STOP | AUXILIARY | ASKS}, {"arrange", ASKS}, {"as", STOP | FILLER}, {"ask", ASKS}, {"at", STOP | PLACE},
    {"be", STOP | AUXILIARY}, {"been", STOP | AUXILIARY}, {"before", QUANTIFIER}, {"being", STOP | AUXILIARY},
    {"book", ASKS}, {"build", ASKS}, {"but", STOP}, {"buy", ASKS}, {"by", STOP}, {"calculate", ASKS}, {"call", ASKS},
    {"can", STOP | MODAL | ASKS}, {"cancel", ASKS}, {"cannot", NEGATION}, {"change", ASKS}, {"check", ASKS},
    {"choose", ASKS}, {"classify", ASKS}, {"clean", ASKS}, {"close", ASKS}, {"code", ASKS}, {"compare", ASKS},
    {"complete", ASKS}, {"compose", ASKS}, {"compute", ASKS}, {"configure", ASKS}, {"connect", ASKS},
    {"continue", ASKS}, {"convert", ASKS}, {"cook", ASKS}, {"copy", ASKS}, {"correct", ASKS},
    {"could", STOP | MODAL | ASKS}, {"count", ASKS}, {"create", ASKS}, {"d", STOP | AUXILIARY | WANTS},
    {"debug", ASKS}, {"define", ASKS}, {"delete", ASKS}, {"deploy", ASKS}, {"describe", ASKS}, {"design", ASKS},
    {"detect", ASKS}, {"determine", ASKS}, {"did", STOP | AUXILIARY | ASKS}, {"disable", ASKS}, {"discuss", ASKS},
    {"divide", ASKS}, {"do", STOP | AUXILIARY | ASKS}, {"does", STOP | AUXILIARY | ASKS}, {"down", STOP},
    {"draft", ASKS}, {"draw", ASKS}, {"each", QUANTIFIER}, {"edit", ASKS}, {"enable", ASKS}, {"enough", QUANTIFIER},
    {"estimate", ASKS}, {"evaluate", ASKS}, {"every", QUANTIFIER}, {"except", QUANTIFIER}, {"explain", ASKS},
    {"extract", ASKS}, {"fetch", ASKS}, {"fewer", QUANTIFIER}, {"fill", ASKS}, {"filter", ASKS}, {"find", ASKS},
    {"first", QUANTIFIER}, {"fix", ASKS}, {"follow", ASKS}, {"for", STOP | OF}, {"format", ASKS}, {"from", STOP},
    {"generate", ASKS}, {"get", ASKS}, {"give", ASKS}, {"go", ASKS}, {"guess", ASKS}, {"had", STOP | AUXILIARY},
    {"half", QUANTIFIER}, {"has", STOP | AUXILIARY | ASKS}, {"have", STOP | AUXILIARY | ASKS}, {"having", STOP},
    {"he", STOP}, {"hello", STOP | FILLER}, {"help", ASKS}, {"her", STOP}, {"here", STOP | EXPLETIVE},
    {"hey", STOP | FILLER}, {"hi", STOP | FILLER}, {"him", STOP}, {"his", STOP}, {"how", STOP | ASKS}, {"i", STOP},
    {"identify", ASKS}, {"if", STOP}, {"ignore", ASKS}, {"improve", ASKS}, {"in", STOP | PLACE}, {"increase", ASKS},
    {"insert", ASKS}, {"install", ASKS}, {"instead", QUANTIFIER}, {"into", STOP | PLACE}, {"invent", ASKS},
    {"is", STOP | AUXILIARY | ASKS}, {"it", STOP | EXPLETIVE}, {"its", STOP | EXPLETIVE}, {"just", STOP | FILLER},
    {"keep", ASKS}, {"kindly", STOP | FILLER}, {"last", QUANTIFIER}, {"least", QUANTIFIER}, {"lend", ASKS},
    {"less", QUANTIFIER}, {"let", ASKS}, {"like", WANTS}, {"list", ASKS}, {"ll", STOP | AUXILIARY}, {"load", ASKS},
    {"locate", ASKS}, {"lock", ASKS}, {"look", ASKS}, {"m", STOP | AUXILIARY}, {"make", ASKS}, {"many", STOP | MANY},
    {"mark", ASKS}, {"may", STOP | MODAL | ASKS}, {"me", STOP}, {"measure", ASKS}, {"message", ASKS},
    {"might", STOP | MODAL}, {"more", STOP | QUANTIFIER}, {"most", STOP | QUANTIFIER}, {"move", ASKS},
    {"much", STOP | MANY}, {"multiply", ASKS}, {"must", STOP}, {"my", STOP}, {"name", ASKS}, {"need", WANTS},
    {"neither", NEGATION}, {"never", QUANTIFIER | NEGATION}, {"no", NEGATION}, {"nobody", NEGATION},
    {"none", NEGATION}, {"nor", NEGATION}, {"not", NEGATION}, {"nothing", NEGATION}, {"of", STOP | OF}, {"off", STOP},
    {"ok", STOP | FILLER}, {"okay", STOP | FILLER}, {"on", STOP | PLACE}, {"one", STOP}, {"only", QUANTIFIER},
    {"onto", STOP | PLACE}, {"open", ASKS}, {"or", STOP}, {"order", ASKS}, {"organize", ASKS}, {"other", STOP},
    {"our", STOP}, {"out", STOP}, {"outline", ASKS}, {"over", STOP}, {"paraphrase", ASKS}, {"pay", ASKS},
    {"pick", ASKS}, {"plan", ASKS}, {"play", ASKS}, {"please", STOP | FILLER | ASKS}, {"predict", ASKS},
    {"prepare", ASKS}, {"print", ASKS}, {"produce", ASKS}, {"proofread", ASKS}, {"propose", ASKS}, {"provide", ASKS},
    {"pull", ASKS}, {"put", ASKS}, {"raise", ASKS}, {"rank", ASKS}, {"rate", ASKS}, {"re", STOP | AUXILIARY},
    {"read", ASKS}, {"recommend", ASKS}, {"reduce", ASKS}, {"refactor", ASKS}, {"remind", ASKS}, {"remove", ASKS},
    {"rename", ASKS}, {"rephrase", ASKS}, {"replace", ASKS}, {"reply", ASKS}, {"report", ASKS}, {"reschedule", ASKS},
    {"reserve", ASKS}, {"reset", ASKS}, {"respond", ASKS}, {"return", ASKS}, {"review", ASKS}, {"rewrite", ASKS},
    {"run", ASKS}, {"s", STOP | AUXILIARY}, {"save", ASKS}, {"say", ASKS}, {"schedule", ASKS}, {"search", ASKS},
    {"select", ASKS}, {"sell", ASKS}, {"send", ASKS}, {"set", ASKS}, {"shall", STOP | MODAL | ASKS}, {"share", ASKS},
    {"she", STOP}, {"shorten", ASKS}, {"should", STOP | MODAL | ASKS}, {"show", ASKS}, {"simplify", ASKS},
    {"since", QUANTIFIER}, {"so", STOP | FILLER}, {"solve", ASKS}, {"some", STOP | ARTICLE}, {"sort", ASKS},
    {"spell", ASKS}, {"split", ASKS}, {"start", ASKS}, {"state", ASKS}, {"stop", ASKS}, {"store", ASKS},
    {"submit", ASKS}, {"suggest", ASKS}, {"sum", ASKS}, {"summarise", ASKS}, {"summarize", ASKS}, {"swap", ASKS},
    {"switch", ASKS}, {"t", STOP | AUXILIARY}, {"take", ASKS}, {"tell", ASKS}, {"test", ASKS}, {"than", STOP},
    {"thank", STOP | FILLER}, {"thanks", STOP | FILLER}, {"that", STOP | ARTICLE}, {"the", STOP | ARTICLE},
    {"their", STOP}, {"them", STOP}, {"then", STOP | FILLER}, {"there", STOP | EXPLETIVE}, {"these", STOP | ARTICLE},
    {"they", STOP}, {"this", STOP | ARTICLE}, {"those", STOP | ARTICLE}, {"tidy", ASKS}, {"to", STOP | AUXILIARY},
    {"too", QUANTIFIER}, {"track", ASKS}, {"train", ASKS}, {"transfer", ASKS}, {"transform", ASKS},
    {"translate", ASKS}, {"turn", ASKS}, {"type", ASKS}, {"under", STOP}, {"uninstall", ASKS}, {"unlock", ASKS},
    {"until", QUANTIFIER}, {"up", STOP}, {"update", ASKS}, {"upgrade", ASKS}, {"upload", ASKS}, {"upon", PLACE},
    {"us", STOP}, {"use", ASKS}, {"ve", STOP | AUXILIARY}, {"verify", ASKS}, {"very", STOP | FILLER}, {"view", ASKS},
    {"wake", ASKS}, {"walk", ASKS}, {"wanna", WANTS}, {"want", WANTS}, {"warn", ASKS},
    {"was", STOP | AUXILIARY | ASKS}, {"we", STOP}, {"were", STOP | AUXILIARY | ASKS}, {"what", STOP | WHICH | ASKS},
    {"when", STOP | ASKS}, {"where", STOP | ASKS}, {"which", STOP | WHICH | ASKS}, {"who", STOP | ASKS},
    {"whose", ASKS}, {"why", ASKS}, {"will", STOP | AUXILIARY | MODAL | ASKS}, {"wish", WANTS}, {"with", STOP},
    {"without", NEGATION}, {"wonder", WANTS}, {"would", STOP | AUXILIARY | MODAL | ASKS | WANTS}, {"write", ASKS},
    {"you", STOP}, {"your", STOP},
};

unsigned ng_word_roles(const char *word) {
    size_t from = 0, to = sizeof known / sizeof *known;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int c = strcmp(known[middle].word, word);
        if (!c) return known[middle].roles;
        if (c < 0) from = middle + 1;
        else to = middle;
    }
    return 0;
}
