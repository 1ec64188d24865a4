/* Daemons are started by tests as `cx local` starts them. */
#include "consumer/cmd/launch.c"
