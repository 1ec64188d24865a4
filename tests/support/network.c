#include "consumer/cmd/network.c"
