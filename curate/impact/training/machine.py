"""What a network runs on, and in what numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

FLOAT32, BFLOAT16, FLOAT16 = "float32", "bfloat16", "float16"


@dataclass(frozen=True, slots=True)
class Machine:
    """A device and its numbers.

    Args:
        device: torch's name of it, ``cpu`` or ``cuda``.
        number_type: ``float32``; or ``bfloat16`` or ``float16`` for mixed precision, where
            weights and sums stay in float32.
        channels_last: whether pixels of one place stand together, as tensor cores like it.
    """

    device: str = "cpu"
    number_type: str = FLOAT32
    channels_last: bool = False

    def cast(self) -> torch.autocast:
        """A context in which layers compute in the number type."""
        dtype = getattr(torch, self.number_type)
        mixed = self.number_type != FLOAT32
        return torch.autocast(self.device, dtype=dtype if mixed else None, enabled=mixed)

    def scaler(self) -> torch.amp.GradScaler:
        """What keeps small gradients from vanishing in float16; idle in other numbers."""
        return torch.amp.GradScaler(self.device, enabled=self.number_type == FLOAT16)

    def place(self, value: Tensor) -> Tensor:
        """Images, N×3×H×W, on the device and in its order."""
        order = torch.channels_last if self.channels_last else torch.contiguous_format
        return value.to(self.device, memory_format=order)

    def house(self, network: nn.Module) -> nn.Module:
        """A network on the device, in its order."""
        order = torch.channels_last if self.channels_last else torch.preserve_format
        return network.to(self.device, memory_format=order)  # type: ignore[call-overload, no-any-return]

    def describe(self) -> dict[str, Any]:
        """For the report."""
        mixed = self.number_type != FLOAT32
        return {
            "device": self.device,
            "number_type": f"mixed float32 and {self.number_type}" if mixed else FLOAT32,
            "channels_last": self.channels_last,
            "deterministic": self.device == "cpu",
        }


def machine_for(device: str) -> Machine:
    """The numbers to use on a device, ``cpu`` or ``cuda``.

    On the processor everything is float32 and, for one thread, the same every time. On
    CUDA precision is mixed: bfloat16 where the card has it, or else float16.
    """
    if device == "cpu":
        return Machine()
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return Machine(device, BFLOAT16 if native else FLOAT16, channels_last=True)


def settle(machine: Machine) -> None:
    """Make this process compute in the same way every time, as far as the device can."""
    torch.set_num_threads(1)  # sums keep their order on any number of cores
    torch.use_deterministic_algorithms(machine.device == "cpu")
    torch.backends.cudnn.benchmark = False
