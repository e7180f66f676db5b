/* A driver for a GPU that is not there: what the CUDA driver is asked for is counted, and not done.

   Copies copy nothing (small ones to the host bring zeros), kernels do not run, memory on the card is numbers without
   memory. So the time of a call is that of the host alone. tests/host_cost.py builds it; COUNTS is read from there. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef uint64_t u64;
enum { LAUNCHES, UPLOADS, UPLOADED, DOWNLOADS, DOWNLOADED, ALLOCATIONS, FREED, PINNED, WAITS, RECORDS, KINDS };
u64 COUNTS[KINDS];
int CAPABILITY = 90;
static u64 next_address = 0x700000000000, next_handle = 0x1000;
static u64 stack[64] = {0};
static int depth = 0;

#define DO(name, ...) int name(__VA_ARGS__)
static int handle(u64 *out) { *out = next_handle += 0x100; return 0; }
static int address(u64 *out, u64 size) { COUNTS[ALLOCATIONS]++; *out = next_address; next_address += (size + 511) & ~511ull; return 0; }
static int up(u64 size) { COUNTS[UPLOADS]++; COUNTS[UPLOADED] += size; return 0; }
static int down(void *to, u64 size) { COUNTS[DOWNLOADS]++; COUNTS[DOWNLOADED] += size; if (size <= 1 << 16) memset(to, 0, size); return 0; }
static int waits(void) { COUNTS[WAITS]++; return 0; }

static int nothing(void) { return 0; }
DO(cuInit, unsigned flags) { return 0; }
DO(cuDriverGetVersion, int *version) { *version = 13000; return 0; }
DO(cuDeviceGetCount, int *count) { *count = 1; return 0; }
DO(cuDeviceGet, int *device, int at) { *device = 0; return 0; }
DO(cuDeviceGetName, char *name, int size, int device) { strncpy(name, "stub", size); return 0; }
DO(cuDeviceGetUuid, void *uuid, int device) { memset(uuid, 1, 16); return 0; }
DO(cuDeviceGetUuid_v2, void *uuid, int device) { memset(uuid, 1, 16); return 0; }
DO(cuDeviceTotalMem_v2, size_t *bytes, int device) { *bytes = 80ull << 30; return 0; }
DO(cuDeviceGetAttribute, int *value, int attribute, int device) {
    switch (attribute) {
        case 75: *value = CAPABILITY / 10; break;
        case 76: *value = CAPABILITY % 10; break;
        case 16: *value = 132; break;   /* multiprocessors */
        case 10: *value = 32; break;    /* warp */
        case 41: case 83: case 115: *value = 1; break;  /* one address space, managed memory, pools */
        case 33: case 34: case 50: *value = 0; break;  /* where it is plugged in */
        default: *value = 1 << 16;
    }
    return 0;
}
DO(cuDevicePrimaryCtxRetain, u64 *context, int device) { *context = 0x10; return 0; }
DO(cuCtxGetCurrent, u64 *context) { *context = depth ? stack[depth - 1] : 0; return 0; }
DO(cuCtxSetCurrent, u64 context) { if (!depth) depth = 1; stack[depth - 1] = context; return 0; }
DO(cuCtxPushCurrent_v2, u64 context) { stack[depth++] = context; return 0; }
DO(cuCtxPopCurrent_v2, u64 *context) { *context = depth ? stack[--depth] : 0; return 0; }
DO(cuCtxGetDevice, int *device) { *device = 0; return 0; }
DO(cuCtxGetDevice_v2, int *device, u64 context) { *device = 0; return 0; }
DO(cuCtxSynchronize, void) { return waits(); }
DO(cuMemGetInfo_v2, size_t *left, size_t *all) { *left = 70ull << 30; *all = 80ull << 30; return 0; }
DO(cuMemAlloc_v2, u64 *out, size_t size) { return address(out, size); }
DO(cuMemAllocAsync, u64 *out, size_t size, u64 stream) { return address(out, size); }
DO(cuMemAllocFromPoolAsync, u64 *out, size_t size, u64 pool, u64 stream) { return address(out, size); }
DO(cuMemFree_v2, u64 at) { COUNTS[FREED]++; return 0; }
DO(cuMemFreeAsync, u64 at, u64 stream) { COUNTS[FREED]++; return 0; }
DO(cuMemHostAlloc, void **out, size_t size, unsigned flags) { COUNTS[PINNED]++; return (*out = calloc(1, size)) ? 0 : 2; }
DO(cuMemFreeHost, void *at) { free(at); return 0; }
DO(cuDeviceGetDefaultMemPool, u64 *pool, int device) { return handle(pool); }
DO(cuDeviceGetMemPool, u64 *pool, int device) { return handle(pool); }
DO(cuMemPoolCreate, u64 *pool, void *how) { return handle(pool); }
DO(cuMemPoolGetAttribute, u64 pool, int attribute, u64 *value) { *value = 0; return 0; }
DO(cuMemcpyHtoD_v2, u64 to, void *from, size_t size) { waits(); return up(size); }
DO(cuMemcpyHtoDAsync_v2, u64 to, void *from, size_t size, u64 stream) { return up(size); }
DO(cuMemcpyDtoH_v2, void *to, u64 from, size_t size) { waits(); return down(to, size); }
DO(cuMemcpyDtoHAsync_v2, void *to, u64 from, size_t size, u64 stream) { return down(to, size); }
DO(cuStreamCreate, u64 *out, unsigned flags) { return handle(out); }
DO(cuStreamCreateWithPriority, u64 *out, unsigned flags, int priority) { return handle(out); }
DO(cuStreamSynchronize, u64 stream) { return waits(); }
DO(cuStreamGetCtx, u64 stream, u64 *context) { *context = 0x10; return 0; }
DO(cuStreamGetCtx_v2, u64 stream, u64 *context, u64 *green) { *context = 0x10; *green = 0; return 0; }
DO(cuStreamGetDevice, u64 stream, int *device) { *device = 0; return 0; }
DO(cuStreamGetFlags, u64 stream, unsigned *flags) { *flags = 1; return 0; }
DO(cuStreamIsCapturing, u64 stream, int *state) { *state = 0; return 0; }
DO(cuEventCreate, u64 *out, unsigned flags) { return handle(out); }
/* Who waits for the event recorded last waits; for one before it, that is for a copy that had its time, hardly. */
static u64 last_event = 0;
DO(cuEventRecord, u64 event, u64 stream) { COUNTS[RECORDS]++; last_event = event; return 0; }
DO(cuEventSynchronize, u64 event) { return event == last_event ? waits() : 0; }
DO(cuModuleLoadDataEx, u64 *out, void *image, unsigned n, void *names, void *values) { return handle(out); }
DO(cuModuleLoadData, u64 *out, void *image) { return handle(out); }
DO(cuModuleGetFunction, u64 *out, u64 module, char *name) { return handle(out); }
int LOADS = 0;
DO(cuLibraryLoadData, u64 *out, void *image, void *a, void *b, unsigned n, void *c, void *d, unsigned m) {
    LOADS++;
    usleep(2000);  /* so that other threads come to it */
    return handle(out);
}
DO(cuLibraryGetKernel, u64 *out, u64 library, char *name) { return handle(out); }
DO(cuLibraryGetModule, u64 *out, u64 library) { return handle(out); }
DO(cuKernelGetFunction, u64 *out, u64 kernel) { return handle(out); }
DO(cuKernelGetLibrary, u64 *out, u64 kernel) { return handle(out); }
DO(cuFuncGetAttribute, int *value, int attribute, u64 function) { *value = 32; return 0; }
DO(cuKernelGetAttribute, int *value, int attribute, u64 kernel, int device) { *value = 32; return 0; }
/* Of the last launch: its grid and block, shared memory, stream and kernel, and as many words as are asked for. */
u64 LAUNCHED[9], WORDS[512];
int WORDS_ASKED = 0, BY_ENTRY = 0;
static int launch(const unsigned *dims, unsigned shared, u64 stream, u64 f, void **p) {
    COUNTS[LAUNCHES]++;
    for (int i = 0; i < 6; i++) LAUNCHED[i] = dims[i];
    LAUNCHED[6] = shared; LAUNCHED[7] = stream; LAUNCHED[8] = f;
    for (int i = 0; i < WORDS_ASKED; i++) memcpy(WORDS + i, p[i], 8);
    return 0;
}
DO(cuLaunchKernel, u64 f, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned g, unsigned s, u64 stream, void **p, void **x) {
    unsigned dims[6] = {a, b, c, d, e, g};
    BY_ENTRY = 1;
    return launch(dims, s, stream, f, p);
}
struct how { unsigned dims[6], shared; u64 stream; void *attributes; unsigned count; };
DO(cuLaunchKernelEx, struct how *how, u64 f, void **p, void **x) {
    BY_ENTRY = 2;
    return launch(how->dims, how->shared, how->stream, f, p);
}
DO(cuPointerGetAttributes, unsigned n, int *names, void **values, u64 at) { /* memory type, device, managed: ours */
    for (unsigned i = 0; i < n; i++) *(unsigned *)values[i] = names[i] == 2 ? 2 : 0;
    return 0;
}
DO(cuPointerGetAttribute, u64 *out, int attribute, u64 at) { *(unsigned *)out = attribute == 2 ? 2 : 0; return 0; }
DO(cuGetErrorName, int error, const char **name) { *name = "CUDA_ERROR_OF_STUB"; return 0; }
DO(cuGetErrorString, int error, const char **name) { *name = "an error of the stub"; return 0; }
static int next_id = 0;
DO(cuStreamGetId, u64 stream, u64 *id) { *id = ++next_id; return 0; }

static void *found(const char *name) {
    char versioned[128];
    Dl_info here;
    dladdr(COUNTS, &here);
    void *own = dlopen(here.dli_fname, RTLD_NOW | RTLD_NOLOAD);
    strcat(strncpy(versioned, name, 100), "_v2");
    void *at = dlsym(own, name);
    if (!at) at = dlsym(own, versioned);
    return at ? at : (void *)nothing;
}
DO(cuGetProcAddress, const char *name, void **out, int version, u64 flags) { *out = found(name); return 0; }
DO(cuGetProcAddress_v2, const char *name, void **out, int version, u64 flags, int *status) {
    *out = strncmp(name, "cuGetProcAddress", 16) ? found(name) : (void *)cuGetProcAddress_v2;
    if (status) *status = 0;
    return 0;
}
