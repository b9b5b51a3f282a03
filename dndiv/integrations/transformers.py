"""Hugging Face transformers:

from dndiv.integrations.transformers import ReinforcementMixin

class DiverseTrainer(ReinforcementMixin, Trainer):
    pass

DiverseTrainer(..., reinforcement={"technique": "weight_cosine", "coefficient": 0.1})
"""

from pathlib import Path

import torch

from dndiv.reinforcement import Reinforcement

FILE = "reinforcement.pt"  # in a checkpoint's folder


class ReinforcementMixin:
    """Before a class of ``transformers.Trainer``: it adds the penalty to the training loss.

    reinforcement: the arguments of ``dndiv.Reinforcement`` after the optimizer. Evaluation stays as
    it is. Steps, random stream and memory go into the checkpoints beside the optimizer's state.
    """

    def __init__(self, *args, reinforcement: dict, **options):
        self.diverse: Reinforcement | None = None
        self._reinforcement, self._checkpoint = reinforcement, None
        super().__init__(*args, **options)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if training := model.training and torch.is_grad_enabled():
            self._reinforce(model, getattr(self.optimizer, "optimizer", self.optimizer))
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if training:
            scaled = getattr(self, "loss_is_scaled_for_ga", None)
            if scaled is None:  # a mean over all accumulated batches already, or over this one
                scaled = self.model_accepts_loss_kwargs and num_items_in_batch is not None
                scaled = scaled or self.compute_loss_func is not None
            parts = self.current_gradient_accumulation_steps if scaled else 1
            loss = loss + self.diverse.penalty() / parts
        return (loss, outputs) if return_outputs else loss

    def _reinforce(self, model, optimizer):  # the optimizer, not accelerate's wrapper of it
        if self.diverse is None or self.diverse.optimizers != [optimizer]:
            if self.diverse is not None:
                self.diverse.remove()
            self.diverse = Reinforcement(model, optimizer, **self._reinforcement)
            if self._checkpoint and (saved := Path(self._checkpoint, FILE)).exists():
                self.diverse.load_state_dict(torch.load(saved, weights_only=True))
            self._checkpoint = None

    def _load_optimizer_and_scheduler(self, checkpoint):
        super()._load_optimizer_and_scheduler(checkpoint)
        self._checkpoint = checkpoint

    def _save_optimizer_and_scheduler(self, output_dir):
        super()._save_optimizer_and_scheduler(output_dir)
        torch.save(self.diverse.state_dict(), Path(output_dir, FILE))
