"""The three networks of stage 2 on their device: image encoder, VAE and U-Net, all of stock classes.

Whatever goes in or comes out is float32 on the host; precision, place and retries are these networks' own business.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch import Tensor, nn
from transformers import CLIPVisionModelWithProjection

from ...contract import StereoDiffError
from ...torch_support.memory import to_host
from .conditioning import clip_pictures

__all__ = ["DepthCrafterNetworks", "default_precision"]

TIME_IDS = (7, 127, 0.02)
"""Frames per second, motion bucket and noise on the pictures, as DepthCrafter was trained with."""
SMALL_GPU_BYTES = 10 * 2**30
"""Up to this much memory, the VAE encodes in half the precision."""
IMAGE_ENCODER, VAE, UNET = "image_encoder", "vae", "unet"
LABELS = {IMAGE_ENCODER: "image encoder", VAE: "VAE", UNET: "U-Net"}


def default_precision(device: torch.device) -> torch.dtype:
    """What the networks run in: float16, which the weights are published in, on a GPU; elsewhere float32.

    Parameters
    ----------
    device : torch.device
        That they run on; a GPU is one of CUDA.

    Returns
    -------
    torch.dtype
        As DepthCrafterNetworks takes it.
    """
    return torch.float16 if device.type == "cuda" else torch.float32


def default_encode_precision(device: torch.device) -> torch.dtype:
    """What the VAE encodes in. In float16 it overflows; bfloat16 is coarse, but on a small GPU it is what fits."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0):
        return torch.float32
    is_small = torch.cuda.get_device_properties(device).total_memory < SMALL_GPU_BYTES
    return torch.bfloat16 if is_small else torch.float32


class DepthCrafterNetworks:
    """Image encoder, VAE and U-Net, moved to the device when they are first used.

    scaling_factor: from the VAE's latents to those the U-Net works on. spatial_factor: pixels to a latent's side.
    embedding_width: C, of an embedding. precision: of U-Net, image encoder and decoding; encoding has its own.
    bytes: of each network's weights, by "unet", "vae" and "image_encoder". retries: how often each of them gave no
    numbers in half precision and was asked again in a wider one.
    """

    def __init__(self, unet: UNetSpatioTemporalConditionModel, vae: AutoencoderKLTemporalDecoder,
                 image_encoder: CLIPVisionModelWithProjection, *, device: torch.device, precision: torch.dtype,
                 encode_precision: torch.dtype | None = None, compiled: bool = False):
        self.device, self.precision = device, precision
        self.scaling_factor = float(vae.config.scaling_factor)
        self.spatial_factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.embedding_width = int(image_encoder.config.projection_dim)
        self._modules = {UNET: unet, VAE: vae, IMAGE_ENCODER: image_encoder}
        self._encoding = nn.ModuleList([vae.encoder, vae.quant_conv])
        self._set_precision(encode_precision or default_encode_precision(device))
        self._host_weights: dict[str, dict[str, Tensor]] = {}
        self._offload = False
        self._compiled = compiled
        if compiled:
            _compile_blocks(unet)
        self.bytes = {name: _bytes_of(module) for name, module in self._modules.items()}
        self.retries = dict.fromkeys(self._modules, 0)

    def _set_precision(self, encode_precision: torch.dtype) -> None:
        for module in (self._modules[UNET], self._modules[IMAGE_ENCODER], self._modules[VAE].decoder):
            _cast(module, self.precision)
        _cast(self._encoding, encode_precision)
        if self.device.type == "cuda":  # elsewhere it is no faster, and its convolutions lose digits
            for module in self._modules.values():
                lay_out(module)

    @property
    def precision_name(self) -> str:
        return str(self.precision).removeprefix("torch.")

    # --- What they do ------------------------------------------------------------------------------------------

    def embed(self, pictures: Tensor) -> Tensor:
        """What is in each picture. (n,3,H,W) float32 in [-1,1] -> (n,C) float32."""
        encoder = self._modules[IMAGE_ENCODER]

        def run(precision: torch.dtype) -> Tensor:
            prepared = clip_pictures(pictures.to(self.device), encoder.config.image_size)
            return encoder(pixel_values=prepared.to(precision)).image_embeds
        return self._answer(IMAGE_ENCODER, encoder, run)

    def encode(self, pictures: Tensor) -> Tensor:
        """The likeliest latents of each picture, not scaled. (n,3,H,W) float32 in [-1,1] -> (n,4,h,w) float32."""
        def run(precision: torch.dtype) -> Tensor:
            return self._modules[VAE].encode(pictures.to(self.device, precision)).latent_dist.mode()
        return self._answer(VAE, self._encoding, run)

    def predict(self, sample: Tensor, time: float, embeddings: Tensor, *,
                ids: tuple[float, float, float] = TIME_IDS) -> Tensor:
        """The U-Net's output for a window of T frames: (T,8,h,w), (T,C) -> (T,4,h,w) float32.

        sample: noised latents, then the picture's. time: a quarter of the noise level's logarithm. Windows of one
        length may come together, as (B,T,8,h,w) and (B,T,C).
        """
        if sample.dim() == 4:
            return self.predict(sample[None], time, embeddings[None], ids=ids)[0]
        unet = self._modules[UNET]

        def run(precision: torch.dtype) -> Tensor:
            context = embeddings.to(self.device, precision).contiguous()
            at = torch.tensor([time], dtype=torch.float32, device=self.device)
            rows = torch.tensor([ids], dtype=torch.float32, device=self.device).expand(len(sample), -1)
            with frame_embeddings(unet, context):
                return unet(sample.to(self.device, precision), at, context[:, :1], rows, return_dict=False)[0]
        return self._answer(UNET, unet, run)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures of one chunk of frames that follow each other: (n,4,h,w) float32, divided by scaling_factor, ->
        (n,3,H,W) float32, about -1..1."""
        vae = self._modules[VAE]

        def run(precision: torch.dtype) -> Tensor:
            return vae.decode(latents.to(self.device, precision), num_frames=len(latents), return_dict=False)[0]
        return self._answer(VAE, vae.decoder, run)

    # --- Precision ---------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _answer(self, name: str, computing: nn.Module, run: Callable[[torch.dtype], Tensor]) -> Tensor:
        """run(precision of its inputs), on the host. computing: the part of network `name` that it runs.

        Half precision that overflows gets one more chance. Raises StereoDiffError "network_not_finite".
        """
        self._move_in(name)
        precision = _precision_of(computing)
        output = self._run(run, precision)
        if not output.isfinite().all() and precision != torch.float32:
            del output
            self.retries[name] += 1
            output = self._run_wider(computing, precision, run)
        if not output.isfinite().all():
            raise StereoDiffError("network_not_finite", f"The {LABELS[name]}'s answer is infinite or no number.")
        return to_host([output.float()])[0]

    def _run_wider(self, computing: nn.Module, precision: torch.dtype, run: Callable[[torch.dtype], Tensor]) -> Tensor:
        """In float32; where memory does not allow that, in bfloat16, which reaches as far."""
        try:
            with _computing_in(computing, torch.float32), self._uncompiled():
                return run(torch.float32)
        except torch.OutOfMemoryError:
            if precision == torch.bfloat16:
                raise
        self.free_unused()
        with _computing_in(computing, torch.bfloat16), self._uncompiled():
            return run(torch.bfloat16)

    def _run(self, run: Callable[[torch.dtype], Tensor], precision: torch.dtype) -> Tensor:
        if not self._compiled:
            return run(precision)
        from torch._dynamo.exc import TorchDynamoException  # slow to import, and of no use without compiling
        try:
            return run(precision)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise StereoDiffError("runtime_broken", f"The U-Net cannot be compiled here: {reason}.") from error

    def _uncompiled(self) -> contextlib.AbstractContextManager:
        return torch.compiler.set_stance("force_eager") if self._compiled else contextlib.nullcontext()

    # --- Memory ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def offloaded(self, is_on: bool) -> Iterator[None]:
        """While it lasts, with is_on only the network in use is on the device; after it, none is."""
        self._offload = is_on
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            yield
        finally:
            self._offload = False
            for name in self._modules:
                self._move_out(name)
            self.free_unused()

    def _move_in(self, name: str) -> None:
        for other in self._modules:
            if self._offload and other != name:
                self._move_out(other)
        module = self._modules[name]
        if not _is_on(module, self.device.type):
            self._host_weights[name] = dict(module.state_dict())
        module.to(self.device)

    def _move_out(self, name: str) -> None:
        """Back to the weights that were moved in: they are kept, as loading held all of them at once anyway, and
        gigabytes need not be copied back."""
        module = self._modules[name]
        if name in self._host_weights:
            module.load_state_dict(self._host_weights.pop(name), assign=True)
        module.to("cpu")

    def free_bytes(self) -> int | None:
        """Memory of the device that these networks, weights and all, may take; None if it is the host's."""
        if self.device.type != "cuda":
            return None
        own = sum(self.bytes[name] for name, module in self._modules.items() if _is_on(module, self.device.type))
        unused = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + unused + own

    def free_unused(self) -> None:
        """Give memory that holds nothing any more back to the device."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def peak_megabytes(self) -> float | None:
        """Most memory of the device that was in use at once since offloaded() began; None if it is the host's."""
        if self.device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self.device) / 1e6


# --- Embeddings --------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def frame_embeddings(unet: UNetSpatioTemporalConditionModel, embeddings: Tensor) -> Iterator[None]:
    """While it lasts, every frame is looked at with its own embedding.

    The stock network takes one for all frames. embeddings: (B,T,C), in the precision of the network.
    """
    context = embeddings.flatten(0, 1)[:, None]

    def give_own(block: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        return args, kwargs | {"encoder_hidden_states": context}

    with contextlib.ExitStack() as hooks:
        for block in _blocks_of(unet):
            if getattr(block, "has_cross_attention", False):
                hooks.callback(block.register_forward_pre_hook(give_own, with_kwargs=True).remove)
        yield


def _blocks_of(unet: UNetSpatioTemporalConditionModel) -> list[nn.Module]:
    return [*unet.down_blocks, unet.mid_block, *unet.up_blocks]


def _compile_blocks(unet: UNetSpatioTemporalConditionModel) -> None:
    """Block by block, because what is compiled would not notice that the hooks around it change."""
    for block in _blocks_of(unet):
        block.forward = torch.compile(block.forward)


# --- Parameters --------------------------------------------------------------------------------------------------

@contextlib.contextmanager
def _computing_in(module: nn.Module, precision: torch.dtype) -> Iterator[None]:
    """While it lasts, a module has its weights in another precision; what they were is kept on the host."""
    kept = [(parameter, parameter.data.cpu()) for parameter in module.parameters()]
    try:
        _cast(module, precision)
        yield
    finally:
        for parameter, data in kept:
            parameter.data = data.to(parameter.device)


def _cast(module: nn.Module, precision: torch.dtype) -> None:
    """As PyTorch does it: diffusers' own way writes a warning that means nothing here."""
    nn.Module.to(module, precision)


def _precision_of(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def lay_out(module: nn.Module) -> None:
    """Weights of 2-D convolutions with channels last, as a GPU's matrix units read them. Only rounding changes."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.to(memory_format=torch.channels_last)


def _bytes_of(module: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in module.parameters())


def _is_on(module: nn.Module, kind: str) -> bool:
    return next(module.parameters()).device.type == kind
