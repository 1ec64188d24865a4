/* CX error codes: one table for every layer.
 *
 * Every fallible CX function returns 0 or one of these negative codes and leaves its outputs untouched on
 * failure. The table in base/error.c gives each code its name, its text and the exit code of the cx command.
 */
#ifndef CX_ERROR_H
#define CX_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#define CX_API __attribute__((visibility("default")))

enum cx_err {
    CX_OK = 0,
    CX_EINVAL = -1,     /* the call or the command line is wrong */
    CX_ENOMEM = -2,     /* this process is out of memory */
    CX_EIO = -3,        /* a disk, file or socket of this machine failed */
    CX_ENONET = -4,     /* no network: the server or the broker cannot be reached */
    CX_ETIMEOUT = -5,   /* the time the caller gave has passed */
    CX_EAUTH = -6,      /* the certificate's role or name may not do this */
    CX_ENOTFOUND = -7,  /* no such job, task, function, module or file */
    CX_EFAILED = -8,    /* the job failed; the message names task and cause */
    CX_ECANCELLED = -9, /* the job was cancelled */
    CX_ELIMIT = -10,    /* a limit was exceeded; the message names it */
    CX_EPROTO = -11,    /* malformed or unexpected message */
    CX_EFULL = -12,     /* back-pressure: the server's memory budget is spent, try later */
    CX_EEXIST = -13,    /* the name is taken by something else (a job id with other content) */
    CX_EVERSION = -14,  /* the two sides speak versions that do not fit */
    CX_EINTERNAL = -15, /* a bug in CX */
};

/* The code's name ("CX_ENONET"), its one-line meaning, and the exit code of the cx command for it. Unknown
 * codes answer as CX_EINTERNAL. The strings are static. */
CX_API const char *cx_err_name(int code);
CX_API const char *cx_err_text(int code);
CX_API int cx_err_exit(int code);

#ifdef __cplusplus
}
#endif
#endif
