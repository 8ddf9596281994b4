// The shared kernels for CUDA, a unit at a time: the build defines which.
#include "dialect.cl"
#if defined(UNIT_PLAIN)
#include "codecs.cl"
#include "plain.cl"
#elif defined(UNIT_EXACT)
#include "exact.cl"
#elif defined(UNIT_LINEAR)
#include "codecs.cl"
#include "linear.cl"
#else
#include "attention.cl"
#endif
