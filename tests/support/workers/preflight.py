"""A rank of the parity suite with a mistake in it: FAULT in the environment says which."""

from __future__ import annotations

import os
from typing import Any

from pipeline.distributed import device, engine
from pipeline.preflight import rank
from pipeline.train import worker

FAULT = os.environ["FAULT"]

if FAULT == "late gradients":  # DeepSpeed's default, which loses part of a tied weight's gradient in bf16
    device.BF16["bf16"] = {"enabled": True}
elif FAULT == "no clipping":
    told = engine._settings

    def unclipped(*arguments: Any) -> dict[str, Any]:
        return {**told(*arguments), "gradient_clipping": 0.0}

    engine._settings = unclipped
elif FAULT == "moments forgotten":
    load = rank.load

    def without(checkpoint: Any, into: Any, config: Any) -> None:
        load(checkpoint, into, config)
        for state in engine.optimizer_within(into.optimizer).state.values():
            state["exp_avg"].zero_()

    rank.load = without
elif FAULT == "dies":
    os._exit(1)

if __name__ == "__main__":
    worker.run(rank.main)
