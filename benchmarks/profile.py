"""Profile of an iteration: python -m benchmarks.profile [--preset cifar10] [--compile].

Lists the most expensive kernels and the time that the device was busy. If an iteration takes much longer than
that, the device waits for the host to launch kernels.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks.common import batch_for, publish, the_device
from benchmarks.training import our_settings, stepper
from ddgan.models.precision import choose_precision
from ddgan.system.devices import wait_for

NUM_STEPS = 5


def main() -> None:
    """Profile some iterations without penalty, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cifar10")
    parser.add_argument("--batch", type=int, help="images per iteration (default: 16; on a GPU 256)")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cuda_graphs", action="store_true")
    parser.add_argument("--rows", type=int, default=25)
    parser.add_argument("--out")
    options = parser.parse_args()
    device = the_device()
    on_gpu = device.type == "cuda"
    batch = batch_for(device, options.batch)
    precision = choose_precision(options.precision, device)
    settings = our_settings(precision, options.compile, options.cuda_graphs)
    step = stepper(options.preset, "ours", settings, batch)
    step(False)
    step(False)
    wait_for(device)
    start = time.perf_counter()
    for _ in range(NUM_STEPS):
        step(False)
    wait_for(device)
    whole = (time.perf_counter() - start) / NUM_STEPS
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_gpu else [])
    with profile(activities=activities) as profiler:
        for _ in range(NUM_STEPS):
            step(False)
        wait_for(device)
    events = profiler.key_averages()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    print(events.table(sort_by=order, row_limit=options.rows, max_name_column_width=70))
    kernels = [event for event in profiler.events() if is_kernel(event)]
    busy = sum(event.self_device_time_total for event in kernels) / 1e6 / NUM_STEPS
    rows = [
        ("network, images per iteration", f"{options.preset}, {batch}, {precision}"),
        ("seconds of an iteration", f"{whole:.4f}, {batch / whole:,.0f} images/s"),
    ]
    values = {"preset": options.preset, "precision": precision, "replayed": options.cuda_graphs}
    values |= {"compiled": options.compile, "batch": batch, "seconds": whole}
    if on_gpu:
        rows.append(("the device was busy", f"{busy:.4f}, with {len(kernels) / NUM_STEPS:,.0f} kernels"))
        values |= {"busy": busy, "kernels": len(kernels) / NUM_STEPS}
    publish("profile", rows, values, options.out)


def is_kernel(event: FunctionEvent) -> bool:
    """Whether an event is work on the device, not a user annotation."""
    return event.device_type == torch.autograd.DeviceType.CUDA and not event.is_user_annotation


if __name__ == "__main__":
    main()
