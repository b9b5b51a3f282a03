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
        self._reinforcement, self._resumed = reinforcement, None
        super().__init__(*args, **options)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if training := model.training and torch.is_grad_enabled():
            self._reinforce(model)
        loss, outputs = super().compute_loss(
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        if training:
            scaled = getattr(self, "loss_is_scaled_for_ga", None)
            if scaled is None:  # a mean over all accumulated batches already, or over this one
                scaled = self.model_accepts_loss_kwargs and num_items_in_batch is not None
                scaled = scaled or self.compute_loss_func is not None
            parts = self.current_gradient_accumulation_steps if scaled else 1
            loss = loss + self.diverse.penalty() / parts
        return (loss, outputs) if return_outputs else loss

    def _reinforce(self, model):
        optimizer = getattr(self.optimizer, "optimizer", self.optimizer)  # accelerate wraps it
        if self.diverse is not None and self.diverse.optimizers == [optimizer]:
            return
        if self.diverse is not None:
            self.diverse.remove()
        self.diverse = Reinforcement(model, optimizer, **self._reinforcement)
        if self._resumed is not None:
            self.diverse.load_state_dict(self._resumed)

    def _save_optimizer_and_scheduler(self, output_dir):
        super()._save_optimizer_and_scheduler(output_dir)
        if self.diverse is not None:
            torch.save(self.diverse.state_dict(), Path(output_dir, FILE))

    def _load_optimizer_and_scheduler(self, checkpoint):
        super()._load_optimizer_and_scheduler(checkpoint)
        found = Path(checkpoint, FILE) if checkpoint else None
        self._resumed = torch.load(found, weights_only=True) if found and found.exists() else None
