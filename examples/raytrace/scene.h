/* A scene as text, one thing a line, and its parser. '#' starts a comment; colours are red, green, blue from
 * 0 to 1.
 *
 *     camera    eye x y z   target x y z   zoom          zoom 1 sees 90 degrees from top to bottom, 2 half of
 * that sky       horizon r g b   zenith r g b fog       distance                                 at which
 * half of the light is the horizon's; 0 none light     x y z   radius   r g b                   at most 8; a
 * radius gives soft shadows material  NAME   r g b   mirror   gloss            mirror 0 to 1; gloss 0 (matt)
 * to 1 (polished); at most 64 floor     y   MATERIAL MATERIAL   size             a chequered plane sphere x y
 * z   radius   MATERIAL                at most 512 */
#ifndef RAYTRACE_SCENE_H
#define RAYTRACE_SCENE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIGHTS_MAX    8
#define MATERIALS_MAX 64
#define SPHERES_MAX   512
#define TEXT_MAX      256
#define ERROR_MAX     160

struct vec {
    double x, y, z;
};
struct material {
    char name[24];
    struct vec colour;
    double mirror, gloss;
};
struct light {
    struct vec at, colour;
    double radius;
};
struct sphere {
    struct vec at;
    double radius;
    int material;
};
struct scene {
    struct vec eye, target;
    double zoom;
    struct vec horizon, zenith;
    double fog;
    int lights, materials, spheres;
    struct light light[LIGHTS_MAX];
    struct material material[MATERIALS_MAX];
    struct sphere sphere[SPHERES_MAX];
    int floor_material[2]; /* -1: no floor */
    double floor_y, floor_size;
    /* While it is parsed: */
    int line;
    char error[ERROR_MAX]; /* "" when all is well */
};

/* The words of a line that are still to be read. */
struct words {
    struct scene *scene;
    char *rest;
};

static void scene_wrong(struct scene *s, const char *what, const char *word)
{
    if (!s->error[0])
        snprintf(s->error, sizeof s->error, "scene line %d: %s%s%.40s", s->line, what, word ? " " : "",
                 word ? word : "");
}

static const char *word_get(struct words *w)
{
    w->rest += strspn(w->rest, " \t\r");
    char *word = w->rest;
    w->rest += strcspn(w->rest, " \t\r");
    if (*w->rest)
        *w->rest++ = 0;
    return word;
}

static double number_get(struct words *w)
{
    const char *word = word_get(w);
    char *end;
    double d = strtod(word, &end);
    if (!*word)
        scene_wrong(w->scene, "a number is missing", NULL);
    else if (*end || !(d > -1e6 && d < 1e6))
        scene_wrong(w->scene, "not a number:", word);
    return d;
}

static struct vec vec_get(struct words *w)
{
    struct vec v;
    v.x = number_get(w);
    v.y = number_get(w);
    v.z = number_get(w);
    return v;
}

static int material_get(struct words *w)
{
    const char *word = word_get(w);
    for (int i = 0; i < w->scene->materials; i++)
        if (strcmp(w->scene->material[i].name, word) == 0)
            return i;
    scene_wrong(w->scene, "no such material above:", *word ? word : "(none given)");
    return 0;
}

/* Room for one more of something. */
static int one_more(struct scene *s, int *n, int max, const char *what)
{
    if (*n == max) {
        scene_wrong(s, "too many of", what);
        return max - 1;
    }
    return (*n)++;
}

static void camera_get(struct scene *s, struct words *w)
{
    s->eye = vec_get(w);
    s->target = vec_get(w);
    s->zoom = number_get(w);
    if (!(s->zoom > 0))
        scene_wrong(s, "zoom must be above 0", NULL);
    if (s->eye.x == s->target.x && s->eye.z == s->target.z)
        scene_wrong(s, "the camera may not look straight up or down", NULL);
}

static void sky_get(struct scene *s, struct words *w)
{
    s->horizon = vec_get(w);
    s->zenith = vec_get(w);
}

static void fog_get(struct scene *s, struct words *w)
{
    s->fog = number_get(w);
}

static void light_get(struct scene *s, struct words *w)
{
    struct light *l = &s->light[one_more(s, &s->lights, LIGHTS_MAX, "light")];
    l->at = vec_get(w);
    l->radius = number_get(w);
    l->colour = vec_get(w);
}

static void material_read(struct scene *s, struct words *w)
{
    struct material m = {.mirror = 0};
    const char *name = word_get(w);
    if (!*name || strlen(name) >= sizeof m.name)
        scene_wrong(s, "a material's name has 1 to 23 letters:", name);
    else
        memcpy(m.name, name, strlen(name));
    m.colour = vec_get(w);
    m.mirror = number_get(w);
    m.gloss = number_get(w);
    s->material[one_more(s, &s->materials, MATERIALS_MAX, "material")] = m;
}

static void floor_get(struct scene *s, struct words *w)
{
    s->floor_y = number_get(w);
    s->floor_material[0] = material_get(w);
    s->floor_material[1] = material_get(w);
    s->floor_size = number_get(w);
    if (!(s->floor_size >= 0.001))
        scene_wrong(s, "the size of the floor's squares must be at least 0.001", NULL);
}

static void sphere_get(struct scene *s, struct words *w)
{
    struct sphere *b = &s->sphere[one_more(s, &s->spheres, SPHERES_MAX, "sphere")];
    b->at = vec_get(w);
    b->radius = number_get(w);
    b->material = material_get(w);
    if (!(b->radius > 0))
        scene_wrong(s, "a radius must be above 0", NULL);
}

static void line_get(struct scene *s, char *text)
{
    static const struct {
        const char *word;
        void (*get)(struct scene *, struct words *);
    } kinds[] = {
        {"camera", camera_get},      {"sky", sky_get},     {"fog", fog_get},       {"light", light_get},
        {"material", material_read}, {"floor", floor_get}, {"sphere", sphere_get},
    };
    text[strcspn(text, "#")] = 0;
    struct words w = {s, text};
    const char *word = word_get(&w);
    if (!*word)
        return;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(word, kinds[i].word) == 0) {
            kinds[i].get(s, &w);
            if (*word_get(&w))
                scene_wrong(s, "more words than belong to this", word);
            return;
        }
    scene_wrong(s, "unknown word", word);
}

/* Reads a scene. 0, or -1 and s->error says what is wrong and in which line. */
static int scene_parse(struct scene *s, const char *text, size_t len)
{
    memset(s, 0, sizeof *s);
    s->floor_material[0] = s->floor_material[1] = -1;
    for (const char *end = text + len; text < end && !s->error[0];) {
        const char *stop = (const char *)memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((stop ? stop : end) - text);
        char line[TEXT_MAX];
        s->line++;
        if (n >= sizeof line) {
            scene_wrong(s, "longer than 255 characters", NULL);
            break;
        }
        memcpy(line, text, n);
        line[n] = 0;
        line_get(s, line);
        text += n + 1;
    }
    if (!(s->zoom > 0) && !s->error[0])
        snprintf(s->error, sizeof s->error, "the scene has no camera");
    return s->error[0] ? -1 : 0;
}

#endif
