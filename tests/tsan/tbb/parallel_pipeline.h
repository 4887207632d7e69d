#include "plain_threads.h"
