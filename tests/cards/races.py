"""Races between the threads of a block, in the simulator: what would be another number on a card, some day.

The simulator runs the threads of a block in whatever order, and mostly in that in which a missing barrier does no harm;
compute-sanitizer looks at shared memory alone. Here a thread that touches a number which another one wrote, or writes
one that another one read, since both last met at a barrier is told, and so is a block whose threads met not equally
often.
"""

import contextlib
import sys
import threading
from pathlib import Path
from unittest import mock


@contextlib.contextmanager
def told():
    """What is found, as lines, while this lasts."""
    from numba.cuda.simulator import kernel, kernelapi
    from numba.cuda.simulator.cudadrv import devicearray

    arrays, found, touched, met, alone = devicearray.FakeCUDAArray, [], {}, {}, threading.Lock()
    read, write, shared = arrays.__getitem__, arrays.__setitem__, kernelapi.FakeCUDAShared.array
    launch, wait, run = kernel.FakeCUDAKernel.__call__, kernel.BlockThread.syncthreads, kernel.BlockThread.run

    def touch(array, at, writes):
        thread = threading.current_thread()
        at = at if isinstance(at, tuple) else (at,)
        if not isinstance(thread, kernel.BlockThread) or len(at) != array.ndim or any(type(i) is slice for i in at):
            return
        address = array.ctypes.data + sum(int(i) * stride for i, stride in zip(at, array.strides, strict=True))
        block, barriers = tuple(thread.blockIdx), getattr(thread, "barriers", 0)
        with alone:
            known = touched.setdefault((block, address), {})
            for (other, wrote), last in known.items():
                if (writes or wrote) and other != thread.thread_id and last == barriers:
                    found.append(f"{place()}: {'write' if writes else 'read'} beside a {'write' if wrote else 'read'}")
            known[thread.thread_id, writes] = barriers

    def read_and_tell(array, at):
        touch(array._ary, at, False)
        return read(array, at)

    def write_and_tell(array, at, value):
        touch(array._ary, at, True)
        write(array, at, value)

    def shared_and_told(given, shape, dtype):
        made = shared(given, shape, dtype)
        within = devicearray.FakeWithinKernelCUDAArray
        return made if isinstance(made, within) else within(arrays(made))

    def meet(thread):
        thread.barriers = getattr(thread, "barriers", 0) + 1
        wait(thread)

    def run_and_tell(thread):
        run(thread)
        met.setdefault(tuple(thread.blockIdx), set()).add(getattr(thread, "barriers", 0))

    def launch_and_tell(function, *arguments):
        touched.clear()
        met.clear()
        launch(function, *arguments)
        found.extend(f"{function.py_func.__name__}: threads meet {of} times" for of in met.values() if len(of) > 1)

    patches = {
        (arrays, "__getitem__"): read_and_tell,
        (arrays, "__setitem__"): write_and_tell,
        (kernelapi.FakeCUDAShared, "array"): shared_and_told,
        (kernel.BlockThread, "syncthreads"): meet,
        (kernel.BlockThread, "run"): run_and_tell,
        (kernel.FakeCUDAKernel, "__call__"): launch_and_tell,
    }
    with contextlib.ExitStack() as stack:
        for (owner, name), patch in patches.items():
            stack.enter_context(mock.patch.object(owner, name, patch))
        yield found


def place():
    """The file and the line of ours that touch."""
    frame = sys._getframe(2)
    while frame is not None and "lapsum_cli" not in frame.f_code.co_filename:
        frame = frame.f_back
    return "?" if frame is None else f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
