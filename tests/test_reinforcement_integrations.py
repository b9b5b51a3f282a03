"""The adapters, with the packages themselves, against a plain loop with the same seed."""

import copy
import logging
import pickle
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, SequentialSampler, TensorDataset

from dndiv.reinforcement import Reinforcement

warnings.filterwarnings("ignore", module="lightning|skorch|transformers")
STEPS, BATCH = 8, 32
TECHNIQUES = [
    ("activation_decorrelation", 0.1, {"schedule": "annealed", "over": 6}),
    ("weight_cosine", 0.5, {"schedule": "dynamic"}),
    ("prediction_diversity", 0.1, {}),
    ("reinitialize", 0.05, {"every": 3}),
    ("orthogonal_step", 0.3, {"every": 2}),
    ("weight_cosine", 0.0, {}),
]


def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
    return model


def data(steps=STEPS):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH * steps, 6, generator=g)
    return TensorDataset(x, x[:, :3].argmax(1))


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def plain_loop(technique, coefficient, options, parts=1, optimizer=torch.optim.Adam, lr=0.01):
    """Losses without the penalty, penalties, and the weights at the end."""
    model = net()
    update = optimizer(model.parameters(), lr=lr)
    # with coefficient 0 there is nothing, not even an adapter
    diverse = coefficient and Reinforcement(model, update, technique, coefficient, **options)
    losses, penalties = [], []
    for step, (x, y) in enumerate(DataLoader(data(), BATCH), 1):
        loss = F.cross_entropy(model(x), y)
        penalty = diverse.penalty() if diverse else torch.zeros(())
        ((loss + penalty) / parts).backward()
        if step % parts == 0:
            update.step()
            update.zero_grad()
        losses.append(loss.item())
        penalties.append(penalty.item())
    return losses, penalties, flat(model)


# --------------------------------------------------------------------------------------- Lightning
def lightning_module(manual=False):
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.losses, self.automatic_optimization = net(), [], not manual

        def training_step(self, batch, index):
            x, y = batch
            loss = F.cross_entropy(self.net(x), y)
            self.losses.append(loss.item())
            if manual:
                self.manual_backward(loss)
                self.optimizers().step()
                self.optimizers().zero_grad()
            return loss

        def validation_step(self, batch, index):
            self.net(batch[0])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

    return Module()


def fit(module, adapter, folder, steps=STEPS, epoch=STEPS, **options):
    import lightning

    checkpoint = options.pop("ckpt_path", None)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = lightning.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, callbacks=[adapter], barebones=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        enable_checkpointing=False, num_sanity_val_steps=1, **options,
    )  # fmt: skip
    loader = DataLoader(data(epoch), BATCH)
    trainer.fit(module, loader, DataLoader(data(1), BATCH), ckpt_path=checkpoint)
    return trainer


@pytest.mark.parametrize("technique, coefficient, options", TECHNIQUES)
def test_lightning(tmp_path, technique, coefficient, options):
    from dndiv.integrations.lightning import ReinforcementCallback

    expected = plain_loop(technique, coefficient, options)
    for manual in (False, True):
        module = lightning_module(manual)
        adapter = ReinforcementCallback(technique, coefficient, **options)
        fit(module, adapter, tmp_path)
        assert module.losses == expected[0] and torch.equal(flat(module.net), expected[2])
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    module = lightning_module()
    accumulated = plain_loop(technique, coefficient, options, parts=2)
    adapter = ReinforcementCallback(technique, coefficient, **options)
    fit(module, adapter, tmp_path, steps=STEPS // 2, accumulate_grad_batches=2)
    assert module.losses == accumulated[0] and torch.equal(flat(module.net), accumulated[2])


def test_lightning_scales_the_penalty_with_the_loss(tmp_path, monkeypatch):
    from lightning.pytorch.plugins import MixedPrecision

    from dndiv.integrations.lightning import ReinforcementCallback

    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    half = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    monkeypatch.setattr(half, "autocast_context_manager", torch.enable_grad)  # scaling alone
    module = lightning_module()
    fit(module, ReinforcementCallback("weight_cosine", 0.5), tmp_path, plugins=[half])
    assert torch.equal(flat(module.net), plain_loop("weight_cosine", 0.5, {})[2])


def test_lightning_resumes_from_a_checkpoint(tmp_path):
    from dndiv.integrations.lightning import ReinforcementCallback

    def adapter():
        return ReinforcementCallback("reinitialize", 0.05, every=3)

    whole, first, resumed = (lightning_module() for _ in range(3))
    fit(whole, adapter(), tmp_path, epoch=4)
    fit(first, adapter(), tmp_path, steps=4, epoch=4).save_checkpoint(tmp_path / "at4.ckpt")
    fit(resumed, adapter(), tmp_path, epoch=4, ckpt_path=tmp_path / "at4.ckpt")
    assert torch.equal(flat(resumed.net), flat(whole.net))
    assert not torch.equal(flat(first.net), flat(whole.net))


# ------------------------------------------------------------------------------------ transformers
class Labelled(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.losses = net(), []

    def forward(self, x, labels):
        logits = self.net(x)
        loss = F.cross_entropy(logits, labels)
        if self.training:
            self.losses.append(loss.item())
        return {"loss": loss, "logits": logits}


class Counted(Labelled):
    """Takes what is counted over all accumulated batches, as the models of transformers do."""

    def forward(self, x, labels, **kwargs):
        found = super().forward(x, labels)
        count = kwargs.get("num_items_in_batch")
        if count is not None:
            found["loss"] = found["loss"] * labels.numel() / count
        return found


def trainer(model, folder, reinforcement, **options):
    from transformers import Trainer, TrainingArguments

    from dndiv.integrations.transformers import ReinforcementMixin

    class Diverse(ReinforcementMixin, Trainer):
        def _get_train_sampler(self, *args):
            return SequentialSampler(data())

    arguments = TrainingArguments(
        folder, max_steps=STEPS, per_device_train_batch_size=BATCH, learning_rate=0.01,
        lr_scheduler_type="constant", max_grad_norm=0.0, report_to="none", use_cpu=True,
        disable_tqdm=True, optim="adamw_torch", logging_strategy="no", eval_strategy="steps",
        eval_steps=2, dataloader_pin_memory=False, **({"save_strategy": "no"} | options),
    )  # fmt: skip
    items = [{"x": x, "labels": y} for x, y in data()]
    return Diverse(
        model, arguments, train_dataset=items, eval_dataset=items[:5], reinforcement=reinforcement
    )


def adamw(parameters, lr):
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=0.0, eps=1e-8)


@pytest.mark.parametrize("technique, coefficient, options", TECHNIQUES)
def test_transformers(tmp_path, technique, coefficient, options):
    given = {"technique": technique, "coefficient": coefficient, **options}
    expected = plain_loop(technique, coefficient, options, optimizer=adamw)
    model = Labelled()
    trainer(model, tmp_path, given).train()
    assert model.losses == expected[0] and torch.equal(flat(model), expected[2])
    accumulated = plain_loop(technique, coefficient, options, parts=2, optimizer=adamw)
    for model in (Labelled(), Counted()):
        run = trainer(model, tmp_path, given, gradient_accumulation_steps=2)
        run.args.max_steps = STEPS // 2  # of the optimizer
        run.train()
        assert model.losses == accumulated[0] and torch.equal(flat(model), accumulated[2])


def test_transformers_resumes_from_a_checkpoint(tmp_path):
    given = {"technique": "reinitialize", "coefficient": 0.05, "every": 3}
    found = []
    for resumed in (False, True):
        model = Labelled()
        if resumed:
            first = copy.deepcopy(model)
            run = trainer(first, tmp_path, given, save_strategy="steps", save_steps=4)
            run.train()
            assert (tmp_path / "checkpoint-4" / "reinforcement.pt").exists()
            run = trainer(model, tmp_path, given)
            run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
            assert run.diverse.steps == STEPS
        else:
            trainer(model, tmp_path, given).train()
        found.append(flat(model))
    assert torch.equal(*found)


# ------------------------------------------------------------------------------------------ skorch
def learner(technique, coefficient, options, **more):
    from skorch import NeuralNetClassifier

    from dndiv.integrations.skorch import ReinforcementCallback

    adapter = ReinforcementCallback(technique, coefficient, options)
    return NeuralNetClassifier(
        net(), criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=0.01, max_epochs=1,
        batch_size=BATCH, train_split=None, iterator_train__shuffle=False, verbose=0,
        callbacks=[("diverse", adapter)], **more,
    )  # fmt: skip


@pytest.mark.parametrize("technique, coefficient, options", TECHNIQUES)
def test_skorch(technique, coefficient, options):
    losses, penalties, weights = plain_loop(technique, coefficient, options)
    made = learner(technique, coefficient, options)
    made.initialize()
    made.partial_fit(*(t.numpy() for t in data().tensors))
    found = [batch["train_loss"] for batch in made.history[0, "batches"]]
    assert found == [torch.tensor(a).add(b).item() for a, b in zip(losses, penalties)]
    assert torch.equal(flat(made.module_), weights)
    assert not any(m._forward_hooks for m in (*made.module_.modules(), made.criterion_))


def test_skorch_goes_on_is_cloned_and_pickled():
    from sklearn.base import clone

    x, y = (t.numpy() for t in data().tensors)
    options = {"every": 3}
    found = []
    for halves in (1, 2):
        made = clone(learner("reinitialize", 0.05, options))
        made.set_params(callbacks__diverse__coefficient=0.04)
        made.initialize()
        for part in range(halves):
            at = slice(part * len(x) // halves, (part + 1) * len(x) // halves)
            made.partial_fit(x[at], y[at])
            made = pickle.loads(pickle.dumps(made))
        found.append(flat(made.module_))
        [adapter] = [c for name, c in made.callbacks_ if name == "diverse"]
        assert adapter.state_["steps"] == STEPS and adapter.coefficient == 0.04
    assert torch.equal(*found)
