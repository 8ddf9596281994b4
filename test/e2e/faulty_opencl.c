// An OpenCL loader that loses its devices: from when the file that TG_FAULTY_OPENCL names is there, every
// launch fails. Whatever this does not define dlsym() finds in the real loader, which it is linked to.
#define _GNU_SOURCE
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint axes, const size_t* offset,
                              const size_t* items, const size_t* group, cl_uint n, const cl_event* after,
                              cl_event* event) {
  static cl_int (*real)(cl_command_queue, cl_kernel, cl_uint, const size_t*, const size_t*, const size_t*,
                        cl_uint, const cl_event*, cl_event*);
  if (!real) *(void**)&real = dlsym(RTLD_NEXT, "clEnqueueNDRangeKernel");
  const char* file = getenv("TG_FAULTY_OPENCL");
  if (file && access(file, F_OK) == 0) return CL_OUT_OF_RESOURCES;
  return real(queue, kernel, axes, offset, items, group, n, after, event);
}
