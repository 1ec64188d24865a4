/* cx server: what an administrator does with the task servers of a network. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "consumer/cmd/shards.h"
#include "consumer/cmd/show.h"

#define WAIT_MS  120000 /* for a move, unless --timeout says otherwise */
#define LOOK_MS  200
#define ORDER_US 2000000 /* an order that has had no effect is given again */
#define TEXT_MAX 1024

struct server_line {
    const char *word[3];
    int words;
    const char *member;
    bool yes;
};

struct server_task {
    cx_net *net;
    const struct server_line *line;
    struct shards shards;
    uint64_t limit_us;
    char shown[TEXT_MAX]; /* the progress that was printed last */
};

/* ---- What all share ---- */

static int __attribute__((format(printf, 2, 3))) reportf(int code, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return report(code, text);
}

static int look(struct server_task *t)
{
    buf_clear(&t->shards.rows);
    int err = net_list(t->net, LIST_SHARDS, &t->shards.rows);
    return err < 0 ? report_net(t->net, err) : 0;
}

/* One line on standard error for each change, so that it reads well in a log, too. */
static void __attribute__((format(printf, 2, 3))) progress(struct server_task *t, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (common.quiet || common.json || strcmp(text, t->shown) == 0)
        return;
    strcpy(t->shown, text);
    fprintf(stderr, "%s\n", text);
}

static int order(struct server_task *t, enum order_verb verb, const struct shard_row *to, struct id shard)
{
    char address[ROW_TEXT_MAX];
    shards_address(to, address, sizeof address);
    return net_order(t->net, &(struct order){.verb = verb, .address = address, .shard = shard});
}

/* What trying again cannot mend. */
static bool is_final(int code)
{
    return code == CX_EAUTH || code == CX_EINVAL || code == CX_EVERSION || code == CX_EPROTO;
}

/* A server that is going down, or a shard that is just moving, answers nothing useful: we look again. */
static int look_again(struct server_task *t)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    nanosleep(&pause, NULL);
    buf_clear(&t->shards.rows);
    int err = net_list(t->net, LIST_SHARDS, &t->shards.rows);
    return err < 0 && is_final(err) ? report_net(t->net, err) : 0;
}

static bool out_of_time(const struct server_task *t)
{
    return clock_us() >= t->limit_us;
}

/* ---- status ---- */

static int do_status(struct server_task *t)
{
    int code = look(t);
    if (code == 0)
        show_shards(&t->shards);
    return code;
}

/* ---- hand-back ---- */

static int hand_back(struct server_task *t, const char *shard)
{
    uint64_t next_us = 0;
    struct shard_row row;
    while (!shards_at_home(&t->shards, shard) || !shards_primary(&t->shards, shard, &row)) {
        if (shards_primary(&t->shards, shard, &row) && clock_us() >= next_us) {
            int err = order(t, ORDER_HAND_OVER, &row, row.id);
            if (err < 0 && is_final(err) && err != CX_EINVAL) /* EINVAL: it has moved meanwhile */
                return report_net(t->net, err);
            next_us = clock_us() + ORDER_US;
            progress(t, "shard %s: %s hands it over to %s%s", shard, row.server, shard,
                     shards_paired(&t->shards, shard) ? "" : ", as soon as that one has all of it");
        }
        if (out_of_time(t))
            return reportf(
                CX_ETIMEOUT,
                "shard %s has not moved: %s must be up and in sync first; `cx server status` shows how "
                "far it is, and the order may be given again",
                shard, shard);
        int code = look_again(t);
        if (code != 0)
            return code;
    }
    progress(t, "shard %s: served by %s", shard, row.server);
    return 0;
}

static int do_hand_back(struct server_task *t)
{
    const char *only = t->line->words > 0 ? t->line->word[0] : NULL;
    char shard[TS_NAME_MAX + 1];
    int code = look(t);
    if (code == 0 && only != NULL && !shards_known(&t->shards, only))
        return reportf(CX_ENOTFOUND, "no server that answers keeps a shard %s; `cx server status` lists them",
                       only);
    if (only != NULL)
        return code != 0 ? code : hand_back(t, only);
    for (size_t i = 0; code == 0 && i < shards_count(&t->shards); i++) {
        struct shard_row row = shards_at(&t->shards, i);
        if (row.silent[0] != '\0' || shards_at_home(&t->shards, row.name))
            continue;
        strcpy(shard, row.name);
        code = hand_back(t, shard);
    }
    return code;
}

/* ---- drain ---- */

static int do_drain(struct server_task *t)
{
    const char *name = t->line->word[0];
    struct shard_row row;
    int code = look(t), err;
    if (code != 0)
        return code;
    if (!shards_server(&t->shards, name, &row))
        return reportf(CX_ENOTFOUND, "no server %s answers; `cx server status` lists those that do", name);
    if ((err = order(t, ORDER_DRAIN, &row, (struct id){0, 0})) < 0)
        return report_net(t->net, err);
    while (!shards_drained(&t->shards, name)) {
        progress(t, "%s hands its shards over", name);
        if (out_of_time(t))
            return reportf(
                CX_ETIMEOUT,
                "%s still serves a shard: its sibling must be up and in sync first (`cx server status`). "
                "The order stands; do not stop %s yet",
                name, name);
        if ((code = look_again(t)) != 0)
            return code;
    }
    progress(
        t,
        "%s serves nothing and may be stopped; until it is back its sibling is alone. Once it is started "
        "again: cx server hand-back %s",
        name, name);
    return 0;
}

/* ---- replace ---- */

static void explain_replace(const char *name)
{
    if (common.quiet || common.json)
        return;
    fprintf(stderr,
            "To replace the server %s, on the new machine:\n"
            "  1. copy ca.crt, or issue a new certificate: cx ca issue DIR server %s (deny the old one if "
            "its key "
            "may be in other hands)\n"
            "  2. start cx-taskserver with the old options: the same --network, --name %s, --sibling and "
            "--broker, "
            "and an empty --state\n"
            "  3. if its address is another one, start its sibling with the new address in --sibling, too\n"
            "What it had is copied from its sibling. This command waits until both have everything again.\n",
            name, name, name);
}

static void progress_replace(struct server_task *t, const char *name)
{
    struct shard_row row, primary;
    char lag[SHORT_MAX];
    if (!shards_server(&t->shards, name, &row))
        progress(t, "waiting for %s to answer", name);
    else if (!row.sibling)
        progress(t, "%s is up; its sibling is not connected to it", name);
    else if (shards_primary(&t->shards, name, &primary) && !shards_paired(&t->shards, name))
        progress(t, "%s is being filled: record %s so far", name,
                 show_count((double)primary.backup_lsn, lag));
    else
        progress(t, "%s is up: not all that it keeps is in sync yet", name);
}

static int do_replace(struct server_task *t)
{
    const char *name = t->line->word[0];
    int code = look(t);
    if (code != 0)
        return code;
    explain_replace(name);
    while (!shards_whole(&t->shards, name)) {
        if (shards_paired(&t->shards, name) && !shards_at_home(&t->shards, name)) {
            if ((code = hand_back(t, name)) != 0)
                return code;
            continue;
        }
        progress_replace(t, name);
        if (out_of_time(t))
            return reportf(
                CX_ETIMEOUT,
                "%s is not whole yet; `cx server status` shows how far it is. This command may be given "
                "again at any time",
                name);
        if ((code = look_again(t)) != 0)
            return code;
    }
    progress(t, "%s is whole: both servers of the pair have all that is held, and it serves its shard", name);
    return 0;
}

/* ---- accept-loss ---- */

static bool confirmed(const char *shard)
{
    char answer[TS_NAME_MAX + 2] = "";
    fprintf(stderr, "Type the shard's name to go on: ");
    if (fgets(answer, sizeof answer, stdin) == NULL)
        return false;
    answer[strcspn(answer, "\n")] = '\0';
    return strcmp(answer, shard) == 0;
}

static void explain_loss(const char *shard, const char *member)
{
    fprintf(stderr,
            "Shard %s goes on with what %s has. What was acknowledged and never reached %s is lost for good: "
            "jobs\n"
            "are unknown, others compute some of their tasks again, and results may have been forgotten. If "
            "another\n"
            "server of the pair comes back later, what only it had is thrown away.\n"
            "Bring that server back instead, if its disk can be read.\n",
            shard, member, member);
}

static int accept_loss(struct server_task *t, const char *shard, const struct shard_row *row)
{
    uint64_t member = shards_member_of(&t->shards, shard, t->line->member);
    struct order o = {.verb = ORDER_ACCEPT_LOSS, .shard = row->id, .member = member};
    int err;
    if (member == 0)
        return reportf(
            CX_ENOTFOUND,
            "'%s' is no server that answers and keeps shard %s, and no member's number; `cx server "
            "status --json` has both",
            t->line->member, shard);
    explain_loss(shard, t->line->member);
    if (!t->line->yes && !confirmed(shard))
        return reportf(CX_ECANCELLED, "nothing was changed");
    if ((err = net_order(t->net, &o)) < 0)
        return report_net(t->net, err);
    progress(t, "shard %s: %s may serve it now; `cx server status` shows when it does", shard,
             t->line->member);
    return 0;
}

static int do_accept_loss(struct server_task *t)
{
    const char *shard = t->line->word[0];
    struct shard_row row;
    int code;
    if (t->line->member == NULL)
        return reportf(CX_EINVAL, "accept-loss: --member says whose copy is to count: a server's name");
    if (strncmp(t->net->address, "broker:", 7) != 0)
        return reportf(CX_EINVAL, "accept-loss is an order to the broker: --network broker:HOST:PORT");
    if ((code = look(t)) != 0)
        return code;
    if (shards_primary(&t->shards, shard, &row))
        return reportf(CX_EINVAL, "shard %s is served by %s: there is no loss to accept", shard, row.server);
    if (!shards_any(&t->shards, shard, &row))
        return reportf(CX_ENOTFOUND, "no server that answers keeps a shard %s; `cx server status` lists them",
                       shard);
    return accept_loss(t, shard, &row);
}

/* ---- The command line ---- */

static const struct server_action {
    const char *name;
    int words_min, words_max; /* after the name */
    int (*run)(struct server_task *t);
} actions[] = {{"status", 0, 0, do_status},
               {"hand-back", 0, 1, do_hand_back},
               {"drain", 1, 1, do_drain},
               {"replace", 1, 1, do_replace},
               {"accept-loss", 1, 1, do_accept_loss}};

enum { KEY_MEMBER = 0x200, KEY_YES };

static const struct argp_option options[] = {
    {"member", KEY_MEMBER, "SERVER", 0, "accept-loss: whose copy counts", 0},
    {"yes", KEY_YES, NULL, 0, "accept-loss: do not ask", 0},
    {0},
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    struct server_line *line = state->input;
    switch (key) {
    case KEY_MEMBER:
        line->member = arg;
        return 0;
    case KEY_YES:
        line->yes = true;
        return 0;
    case ARGP_KEY_ARG:
        if (line->words == 3)
            argp_error(state, "'%s' is one argument too many", arg);
        line->word[line->words++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (line->words == 0)
            argp_usage(state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int open_as_admin(cx_net **net)
{
    int err = net_open_admin(common.network, common.credentials, net);
    return err < 0 ? report_net(NULL, err) : 0;
}

static int run(const struct server_action *action, const struct server_line *line)
{
    int wait_ms = common.timeout_ms >= 0 ? common.timeout_ms : WAIT_MS;
    struct server_task t = {.line = line, .limit_us = clock_us() + (uint64_t)wait_ms * 1000};
    int code = open_as_admin(&t.net);
    if (code == 0)
        code = action->run(&t);
    buf_free(&t.shards.rows);
    cx_close(t.net);
    return code;
}

int verb_server(int argc, char **argv)
{
    struct argp argp = {
        .options = options,
        .parser = parse,
        .children = COMMON_CHILDREN,
        .args_doc =
            "status\nhand-back [SHARD]\ndrain SERVER\nreplace SERVER\naccept-loss SHARD --member SERVER",
        .doc = "Look after the task servers of a network.\v"
               "status: every shard, its copies, who serves it, how far the other one is, and what is to be "
               "done.\n"
               "hand-back: a shard, or all, goes back to the server whose name it has, and the command waits "
               "for it.\n"
               "drain: the server hands all over to its sibling, so that its machine may be stopped.\n"
               "replace: how to put another machine in its place; waits until both have everything again.\n"
               "accept-loss: a halted shard goes on with what one server has. What only the other one had is "
               "lost. "
               "It is an order to the broker: --network broker:HOST:PORT.\n\n"
               "All but status want an administrator's certificate (cx ca issue DIR admin NAME)."};
    struct server_line line = {.words = 0};
    argp_parse(&argp, argc, argv, 0, NULL, &line);
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(line.word[0], actions[i].name) != 0)
            continue;
        if (line.words - 1 < actions[i].words_min || line.words - 1 > actions[i].words_max)
            break;
        struct server_line rest = line;
        memmove(rest.word, rest.word + 1, sizeof rest.word - sizeof rest.word[0]);
        rest.words--;
        return run(&actions[i], &rest);
    }
    return report(CX_EINVAL, "usage: cx server status | hand-back [SHARD] | drain SERVER | replace SERVER | "
                             "accept-loss SHARD --member SERVER; cx help server says more");
}
