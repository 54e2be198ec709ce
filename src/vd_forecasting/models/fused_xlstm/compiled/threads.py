"""Compiled kernels on torch's own threads.

The threads are those of the OpenMP pool that torch's operations use. A pool of its own, such as
numba's, would leave both pools waiting actively for work, each on the other's cores.
"""

import ctypes
from typing import Any

import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BYTES = ir.IntType(8).as_pointer()
INTEGER = ir.IntType(64)
WORK = ir.FunctionType(ir.VoidType(), [BYTES])
# void GOMP_parallel(void (*work)(void *), void *data, unsigned num_threads, unsigned flags)
UNSIGNED = ir.IntType(32)
GOMP_PARALLEL = ir.FunctionType(ir.VoidType(), [WORK.as_pointer(), BYTES, UNSIGNED, UNSIGNED])


def _entry_of_openmp() -> int:
    """The address of ``GOMP_parallel`` in the OpenMP library that torch has loaded, or 0.

    GNU's OpenMP and LLVM's have it, on Linux and macOS. It is looked for among the symbols that
    all libraries see: those of torch are, those of other packages' own copies are not.
    """
    try:
        entry = ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value
    except (AttributeError, OSError, TypeError):
        return 0
    return entry or 0


OPENMP = _entry_of_openmp()


def parts_of(size: int) -> tuple[int, int]:
    """How many parts to make of ``size`` units of work, at most one per thread of torch, and the
    address of OpenMP for :func:`in_parts`, 0 where one thread does them all."""
    parts = min(torch.get_num_threads(), size)
    return (parts, OPENMP) if OPENMP and parts > 1 else (1, 0)


@intrinsic
def in_parts(
    typing_context: Any, kernel: Any, parts: Any, openmp: Any, arguments: Any
) -> tuple[Any, Any]:
    """Call the compiled ``kernel(part, parts, *arguments)`` for each part, on as many threads.

    Each thread takes the next part until none is left, so fewer threads than parts do as well.
    ``openmp`` is the address of ``GOMP_parallel``, or 0 to stay on this thread. A MemoryError in
    one of the parts is raised.
    """
    call = typing_context.resolve_function_type(kernel, (parts, parts, *arguments), {})

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _, count, entry, given = values
        job_type = ir.LiteralStructType([INTEGER, INTEGER, INTEGER, given.type])
        job = cgutils.alloca_once(builder, job_type)
        zero = ir.Constant(INTEGER, 0)
        for place, value in enumerate((zero, count, zero, given)):  # next part, parts, failed
            builder.store(value, cgutils.gep_inbounds(builder, job, 0, place))
        work = _work(context, builder.module, kernel.dispatcher.get_compile_result(call), job.type)
        data = builder.bitcast(job, BYTES)
        with builder.if_else(cgutils.is_null(builder, entry)) as (here, on_threads):
            with here:
                builder.call(work, [data])
            with on_threads:
                gomp_parallel = builder.inttoptr(entry, GOMP_PARALLEL.as_pointer())
                threads = builder.trunc(count, UNSIGNED)
                builder.call(gomp_parallel, [work, data, threads, UNSIGNED(0)])
        failed = builder.load(cgutils.gep_inbounds(builder, job, 0, 2))
        with cgutils.if_unlikely(builder, cgutils.is_not_null(builder, failed)):
            context.call_conv.return_user_exc(builder, MemoryError, ("out of memory",))
        return context.get_dummy_value()

    return types.none(kernel, parts, openmp, arguments), generate


def _work(context: Any, module: Any, compiled: Any, job_type: Any) -> Any:
    """The function that a thread runs: it calls the kernel for the next part while there is one."""
    context.active_code_library.add_linking_library(compiled.library)
    kernel = context.declare_function(module, compiled.fndesc)
    work = ir.Function(module, WORK, f"{compiled.fndesc.mangled_name}.work")
    work.linkage = "internal"
    start, take, do, end = map(work.append_basic_block, ("start", "take", "do", "end"))
    builder = ir.IRBuilder(start)
    job = builder.bitcast(work.args[0], job_type)
    following, parts, failed, given = (
        cgutils.gep_inbounds(builder, job, 0, place) for place in range(4)
    )
    count = builder.load(parts)
    arguments = cgutils.unpack_tuple(builder, builder.load(given))
    builder.branch(take)
    builder.position_at_end(take)
    part = builder.atomic_rmw("add", following, INTEGER(1), "monotonic")
    builder.cbranch(builder.icmp_signed("<", part, count), do, end)
    builder.position_at_end(do)
    # Inlined, or there are two versions: numba optimises a linked kernel once more, so it may round
    # otherwise. A call would run the first in the process that compiles, the second from the cache.
    status, _ = context.call_conv.call_function(
        builder, kernel, compiled.signature.return_type, compiled.signature.args,
        [part, count, *arguments], attrs=("alwaysinline",),
    )  # fmt: skip
    with cgutils.if_unlikely(builder, status.is_error):
        builder.store(INTEGER(1), failed)
    builder.branch(take)
    builder.position_at_end(end)
    builder.ret_void()
    return work
