/* grid_default.c: the grid that is compiled in, as the text that `nanogrid show grid` prints.
 * Every value that stands here is also the schema's default (a test compares them), so the text
 * doubles as the reference of what a user's file may leave out. */
#include <nanogrid/grid.h>

static const char text[] =
    "# The grid that is compiled in.  Copy it to $NANOGRID_HOME/grid.yaml (or name a file with "
    "--grid) and\n"
    "# keep only what you change: a section left out keeps its default, `experts:` and `models:` "
    "add to or\n"
    "# replace these by name, `embedded: false` removes them all.\n"
    "listen: 127.0.0.1:8080\n"
    "embedded: true\n"
    "\n"
    "experts:\n"
    "  - {name: intent, task: classify, model: nanogrid/intent, tier: nano, languages: [en]}\n"
    "  - {name: sentiment, task: classify, model: nanogrid/sentiment, tier: nano, languages: "
    "[en]}\n"
    "  - {name: topic, task: classify, model: nanogrid/topic, tier: nano, languages: [en]}\n"
    "  - {name: question-type, task: classify, model: nanogrid/question-type, tier: nano, "
    "languages: [en]}\n"
    "  - {name: moderation, task: moderate, model: nanogrid/moderation, tier: nano, languages: "
    "[en]}\n"
    "  - {name: language-id, task: detect-language, model: nanogrid/language-id, tier: nano}\n"
    "  - {name: pii, task: extract, tier: nano}\n"
    "  - {name: summarize, task: summarize, model: nanogrid/summarize, tier: nano}\n"
    "\n"
    "# Chat and embeddings come with a model of yours:\n"
    "#   models: {chat: {path: SmolLM2-135M-Instruct.Q4_1.gguf}, minilm: {path: "
    "all-minilm-l6-v2.gguf}}\n"
    "#   experts:\n"
    "#     - {name: chat, task: generate, model: chat, tier: nano}\n"
    "#     - {name: embed, task: embed, model: minilm, tier: nano}\n"
    "# models: {chat: {path: .., kv: q8}} holds the past tokens of conversations in 8 bits: half the memory (f16)\n"
    "# A contract bounds the error of what is answered here; less sure answers go to a higher "
    "tier:\n"
    "#     - {name: intent, task: classify, model: nanogrid/intent, contract: {max_error: 0.02}}\n"
    "# A higher tier is any OpenAI-compatible endpoint:\n"
    "#   upstreams:\n"
    "#     - {name: cloud, tier: medium, base_url: \"https://api.example.com/v1\", api_key_env: "
    "OPENAI_API_KEY,\n"
    "#        model: some-model, pricing: {prompt_per_1m: 0.15, completion_per_1m: 0.6},\n"
    "#        allowed_fails: 2, cooldown_time: 30s, timeout: 30s, connect_timeout: 2s}\n"
    "\n"
    "router: {model: nanogrid/router-en, abstain: escalate, learn: false}   # out of scope: escalate | answer\n"
    "policy:\n"
    "  privacy: {pii: local}   # text with personal data stays here: local | mesh | any\n"
    "  prefer: cost            # among upstreams of one tier\n"
    "  on_long: escalate       # a prompt that does not fit: escalate | refuse | compress\n"
    "  deadline_ms: 0          # of a request that names none; 0: none\n"
    "cascade: {hold_tokens: 32, escalate: contract, sticky: true}   # escalate: contract | gain\n"
    "cache: {exact: 64MB}\n"
    "records: {keep: 7d, max: 256MB, text: false}\n"
    "workers: {enabled: true, hang: 30s}   # serve: decoders and encoders in processes of their own\n";

const char *ng_grid_default_yaml(void) {
    return text;
}
