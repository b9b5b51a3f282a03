"""skorch:

from dndiv.integrations.skorch import ReinforcementCallback
NeuralNetClassifier(..., callbacks=[ReinforcementCallback("weight_cosine", 0.1)])
"""

from skorch.callbacks import Callback

from dndiv.reinforcement import Reinforcement


class ReinforcementCallback(Callback):
    """Adds the penalty to what the criterion, a loss module, returns; or changes weights.

    technique, coefficient, and options, a dict: those of ``dndiv.Reinforcement``. The training loss
    in the history is with the penalty. ``partial_fit`` goes on where the last fit ended.
    """

    def __init__(self, technique: str, coefficient: float, options: dict | None = None):
        self.technique, self.coefficient, self.options = technique, coefficient, options

    def initialize(self):
        self.state_ = None
        return self

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.diverse_ = Reinforcement(
            net.module_, net.optimizer_, self.technique, self.coefficient, **(self.options or {})
        )
        if self.state_ is not None:
            self.diverse_.load_state_dict(self.state_)
        self.diverse_.add_to(net.criterion_)

    def on_train_end(self, net, X=None, y=None, **kwargs):
        self.state_ = self.diverse_.state_dict()
        self.diverse_.remove()
        del self.diverse_
