"""``dndiv.Reinforcement`` in training loops of others, each imported by itself.

* ``dndiv.integrations.lightning``: ``ReinforcementCallback`` for a ``Trainer``
* ``dndiv.integrations.transformers``: ``ReinforcementMixin`` for a class of ``Trainer``
* ``dndiv.integrations.skorch``: ``ReinforcementCallback`` for a ``NeuralNet``

For any other loop that cannot be edited there is ``Reinforcement.add_to``.
"""
