/* A small ray tracer: spheres over a chequered floor, mirrors, soft shadows, several rays a pixel.
 *
 * It uses only + - * / and sqrt, which IEEE 754 defines to the last bit, and no state but the scene: so every
 * pixel is the same on every machine, whoever computes it. "Random" offsets are hashes of the pixel's place.
 *
 * Sources: T. Whitted, "An improved illumination model for shaded display" (1980); C. Schlick's approximation
 * of Fresnel's reflection (1994). */
#ifndef RAYTRACE_TRACER_H
#define RAYTRACE_TRACER_H

#include <math.h>
#include <stdint.h>

#include "scene.h"

#define BOUNCES_MAX 6
#define SHADOW_RAYS 4
#define FAR_AWAY    1e9
#define SKIN        1e-6 /* a ray starts this far off the surface that it leaves */
#define SAMPLES_MAX 16   /* along each side of a pixel */

struct picture {
    int width, height, samples; /* samples * samples rays a pixel */
};
struct ray {
    struct vec from, to; /* to: unit length */
};
struct hit {
    double distance;
    struct vec at, normal;
    const struct material *material;
};

static struct vec vec_add(struct vec a, struct vec b)
{
    return (struct vec){a.x + b.x, a.y + b.y, a.z + b.z};
}
static struct vec vec_sub(struct vec a, struct vec b)
{
    return (struct vec){a.x - b.x, a.y - b.y, a.z - b.z};
}
static struct vec vec_scale(struct vec a, double k)
{
    return (struct vec){a.x * k, a.y * k, a.z * k};
}
static struct vec vec_mul(struct vec a, struct vec b)
{
    return (struct vec){a.x * b.x, a.y * b.y, a.z * b.z};
}
static double vec_dot(struct vec a, struct vec b)
{
    return a.x * b.x + a.y * b.y + a.z * b.z;
}
static struct vec vec_cross(struct vec a, struct vec b)
{
    return (struct vec){a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
static struct vec vec_unit(struct vec a)
{
    return vec_scale(a, 1.0 / sqrt(vec_dot(a, a)));
}
static struct vec vec_mix(struct vec a, struct vec b, double t)
{
    return vec_add(vec_scale(a, 1.0 - t), vec_scale(b, t));
}

/* A number from 0 to 1 that looks random, from the place that asks for it. */
static double noise(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (double)((x ^ x >> 31) >> 11) * (1.0 / 9007199254740992.0);
}

/* How far along the ray it meets the sphere; FAR_AWAY when it does not. */
static double sphere_meets(const struct sphere *s, const struct ray *r)
{
    struct vec d = vec_sub(s->at, r->from);
    double along = vec_dot(d, r->to);
    double inside = along * along - vec_dot(d, d) + s->radius * s->radius;
    if (inside < 0)
        return FAR_AWAY;
    double half = sqrt(inside);
    if (along - half > SKIN)
        return along - half;
    return along + half > SKIN ? along + half : FAR_AWAY;
}

static int floor_hit(const struct scene *s, const struct ray *r, struct hit *h)
{
    if (s->floor_material[0] < 0 || r->to.y == 0)
        return 0;
    double distance = (s->floor_y - r->from.y) / r->to.y;
    if (distance <= SKIN || distance >= h->distance)
        return 0;
    h->distance = distance;
    h->at = vec_add(r->from, vec_scale(r->to, distance));
    h->normal = (struct vec){0, r->to.y < 0 ? 1 : -1, 0};
    int64_t square = (int64_t)(h->at.x / s->floor_size + 1e6) + (int64_t)(h->at.z / s->floor_size + 1e6);
    h->material = &s->material[s->floor_material[square & 1]];
    return 1;
}

static int scene_hit(const struct scene *s, const struct ray *r, struct hit *h)
{
    const struct sphere *nearest = NULL;
    h->distance = 1e6;
    for (int i = 0; i < s->spheres; i++) {
        double d = sphere_meets(&s->sphere[i], r);
        if (d < h->distance) {
            h->distance = d;
            nearest = &s->sphere[i];
        }
    }
    if (floor_hit(s, r, h))
        return 1;
    if (!nearest)
        return 0;
    h->at = vec_add(r->from, vec_scale(r->to, h->distance));
    h->normal = vec_scale(vec_sub(h->at, nearest->at), 1.0 / nearest->radius);
    h->material = &s->material[nearest->material];
    return 1;
}

static int in_shadow(const struct scene *s, const struct ray *r, double distance)
{
    for (int i = 0; i < s->spheres; i++)
        if (sphere_meets(&s->sphere[i], r) < distance)
            return 1;
    return 0;
}

static struct vec sky(const struct scene *s, struct vec to)
{
    double up = to.y > 0 ? to.y : 0;
    return vec_mix(s->horizon, s->zenith, sqrt(up));
}

/* x to the 2^n: the brightness of highlights. */
static double sharpen(double x, int n)
{
    while (n-- > 0)
        x *= x;
    return x;
}

/* What one light adds at a hit: seen from some points of its surface, and shining off the hit's. */
static struct vec lit_by(const struct scene *s, const struct light *l, const struct ray *r,
                         const struct hit *h, uint64_t *seed)
{
    struct vec sum = {0, 0, 0};
    const struct material *m = h->material;
    for (int i = 0; i < SHADOW_RAYS; i++) {
        struct vec off = {noise(seed) - 0.5, noise(seed) - 0.5, noise(seed) - 0.5};
        struct vec way = vec_sub(vec_add(l->at, vec_scale(off, 2 * l->radius)), h->at);
        double distance = sqrt(vec_dot(way, way));
        struct ray to_light = {h->at, vec_scale(way, 1.0 / distance)};
        double facing = vec_dot(to_light.to, h->normal);
        if (facing <= 0 || in_shadow(s, &to_light, distance))
            continue;
        struct vec half = vec_unit(vec_sub(to_light.to, r->to));
        double shine = vec_dot(half, h->normal);
        double gleam = shine > 0 ? 2.5 * m->gloss * sharpen(shine, 4 + (int)(m->gloss * 4)) : 0;
        sum = vec_add(sum, vec_add(vec_scale(m->colour, facing), (struct vec){gleam, gleam, gleam}));
    }
    return vec_scale(vec_mul(sum, l->colour), 1.0 / SHADOW_RAYS);
}

static struct vec lit(const struct scene *s, const struct ray *r, const struct hit *h, uint64_t *seed)
{
    struct vec sum = vec_scale(vec_mul(h->material->colour, sky(s, h->normal)), 0.35);
    for (int i = 0; i < s->lights; i++)
        sum = vec_add(sum, lit_by(s, &s->light[i], r, h, seed));
    return sum;
}

/* More is reflected the flatter the ray comes in: Schlick's (1 - cos)^5. */
static double reflected(const struct ray *r, const struct hit *h)
{
    double flat = 1.0 + vec_dot(r->to, h->normal);
    double fifth = flat <= 0 ? 0 : flat * flat * flat * flat * flat;
    return h->material->mirror + (1.0 - h->material->mirror) * h->material->gloss * fifth * 0.6;
}

static struct vec trace(const struct scene *s, struct ray r, uint64_t *seed)
{
    struct vec seen = {0, 0, 0};
    double weight = 1;
    for (int bounce = 0; bounce < BOUNCES_MAX && weight > 0.004; bounce++) {
        struct hit h;
        if (!scene_hit(s, &r, &h))
            return vec_add(seen, vec_scale(sky(s, r.to), weight));
        double haze = s->fog > 0 ? h.distance * h.distance / (h.distance * h.distance + s->fog * s->fog) : 0;
        seen = vec_add(seen, vec_scale(s->horizon, weight * haze));
        weight *= 1.0 - haze;
        double mirror = reflected(&r, &h);
        seen = vec_add(seen, vec_scale(lit(s, &r, &h, seed), weight * (1.0 - mirror)));
        weight *= mirror;
        r.to = vec_unit(vec_sub(r.to, vec_scale(h.normal, 2 * vec_dot(r.to, h.normal))));
        r.from = vec_add(h.at, vec_scale(h.normal, SKIN));
    }
    return seen;
}

/* Light to a byte of the picture: highlights are rolled off, and gamma is 2, for which a square root
 * suffices. */
static unsigned char tone(double light)
{
    double x = light * (1.0 + light * 0.12) / (1.0 + light * 0.55) * 1.15;
    double y = sqrt(x > 0 ? x : 0) * 255.0 + 0.5;
    return y >= 255.0 ? 255 : (unsigned char)y;
}

/* The camera's axes. */
struct view {
    struct vec ahead, right, up;
};

static struct view view_of(const struct scene *s)
{
    struct view v;
    v.ahead = vec_unit(vec_sub(s->target, s->eye));
    v.right = vec_unit(vec_cross((struct vec){0, 1, 0}, v.ahead));
    v.up = vec_cross(v.ahead, v.right);
    v.ahead = vec_scale(v.ahead, s->zoom);
    return v;
}

static struct vec pixel(const struct scene *s, const struct view *v, const struct picture *p, int x, int y)
{
    struct vec sum = {0, 0, 0};
    uint64_t seed = ((uint64_t)y << 32 | (uint64_t)x) * 0x9e3779b97f4a7c15u;
    for (int i = 0; i < p->samples * p->samples; i++) {
        double dx = (i % p->samples + noise(&seed)) / p->samples,
               dy = (i / p->samples + noise(&seed)) / p->samples;
        double across = (2 * (x + dx) - p->width) / p->height, up = 1.0 - 2 * (y + dy) / p->height;
        struct vec to = vec_add(v->ahead, vec_add(vec_scale(v->right, across), vec_scale(v->up, up)));
        sum = vec_add(sum, trace(s, (struct ray){s->eye, vec_unit(to)}, &seed));
    }
    return vec_scale(sum, 1.0 / (p->samples * p->samples));
}

/* Rows from to to - 1 of the picture, three bytes a pixel, left to right and top to bottom. */
static void render_rows(const struct scene *s, const struct picture *p, int from, int to, unsigned char *rgb)
{
    struct view v = view_of(s);
    for (int y = from; y < to; y++)
        for (int x = 0; x < p->width; x++) {
            struct vec c = pixel(s, &v, p, x, y);
            *rgb++ = tone(c.x);
            *rgb++ = tone(c.y);
            *rgb++ = tone(c.z);
        }
}

/* ---- The picture as a value: this head, then its rows ---- */

#define STRIP_ROWS 4 /* rows that one task renders */

struct picture_head {
    char magic[4]; /* "RGB1" */
    uint32_t width, height;
};

/* Tasks that a picture of so many rows takes, for progress bars: the tree that module.c makes. */
static inline long tasks_below(int rows)
{
    return rows <= STRIP_ROWS ? 1 : 1 + tasks_below(rows / 2) + tasks_below(rows - rows / 2);
}

#endif
