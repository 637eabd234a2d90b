"""A process with two devices of its own that learns two tasks of digits5.

python -m tests.training.two_devices RUN DEVICES KEY=VALUE...
"""

import os
import sys

if __name__ == "__main__":
    folder, devices, *changes = sys.argv[1:]
    if os.environ["KERAS_BACKEND"] == "jax":
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["XLA_FLAGS"] = (
            f"--xla_force_host_platform_device_count={devices}"
        )
    else:
        import tensorflow as tf

        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            processor,
            [tf.config.LogicalDeviceConfiguration()] * int(devices),
        )
    from cckeras.training.distribution import distributed, start_processes
    from tests.runs.small import learn_digits, recipe

    config = recipe(**dict(text.split("=") for text in changes))
    start_processes(config["distribute"])
    with distributed(config["distribute"]):
        learn_digits(folder, config)
