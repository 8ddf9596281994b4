/* No kernel of its own: every op runs the reference's loop. Start your port here. */
#include "backend/kit/vendor_kernels.h"

#include <stddef.h>

tgk_kernel vendor_kernel(uint32_t opcode) {
  (void)opcode;
  return NULL;
}
