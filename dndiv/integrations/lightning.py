"""Lightning:

from dndiv.integrations.lightning import ReinforcementCallback
Trainer(callbacks=[ReinforcementCallback("activation_decorrelation", 0.1)])
"""

from lightning.pytorch import Callback

from dndiv.reinforcement import Reinforcement


class ReinforcementCallback(Callback):
    """Adds the penalty to the loss before its backward pass, or changes weights after steps.

    Its arguments are those of ``dndiv.Reinforcement`` after the optimizer; names of layers are
    those in the LightningModule. The loss that is logged is without the penalty. Steps, random
    stream and memory go into the trainer's checkpoints.
    """

    def __init__(self, technique: str, coefficient: float, **options):
        self.diverse: Reinforcement | None = None
        self._arguments, self._options = (technique, coefficient), options
        self._state: dict = {}

    def on_fit_start(self, trainer, pl_module):
        model = trainer.strategy.model
        self.diverse = Reinforcement(model, trainer.optimizers, *self._arguments, **self._options)
        if self._state:
            self.diverse.load_state_dict(self._state)

    def on_before_backward(self, trainer, pl_module, loss):
        # the loss comes divided by the batches that are accumulated, and scaled
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        scale = 1.0 if scaler is None else scaler.get_scale()
        loss += self.diverse.penalty() * (scale / trainer.accumulate_grad_batches)

    def teardown(self, trainer, pl_module, stage):
        if self.diverse is not None:
            self._state = self.diverse.state_dict()
            self.diverse.remove()

    def on_exception(self, trainer, pl_module, exception):
        self.teardown(trainer, pl_module, "fit")

    def state_dict(self):
        return self._state if self.diverse is None else self.diverse.state_dict()

    def load_state_dict(self, state_dict):
        self._state = state_dict
