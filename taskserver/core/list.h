/* A circular doubly linked list whose links lie in what it lists. */
#ifndef TASKSERVER_CORE_LIST_H
#define TASKSERVER_CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *prev, *next;
};

#define list_item(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct link *head)
{
    head->prev = head->next = head;
}
static inline bool list_empty(const struct link *head)
{
    return head->next == head;
}
static inline void list_add(struct link *head, struct link *l) /* at the end */
{
    l->prev = head->prev;
    l->next = head;
    head->prev->next = l;
    head->prev = l;
}
/* A removed link is an empty list of its own, so removing it again is harmless. */
static inline void list_remove(struct link *l)
{
    l->prev->next = l->next;
    l->next->prev = l->prev;
    list_init(l);
}

#endif
