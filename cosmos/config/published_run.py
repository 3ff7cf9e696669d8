"""Resources that a published run took, as an experiment's file states them."""

from cosmos.config.section import Natural, Section, Weight


class PublishedRun(Section):
    """Resources of a published run, as far as they are published: 0 and "" where they are not."""

    gpus: Natural = 0
    """number of GPUs"""
    gpu_kind: str = ""
    """kind of these GPUs: a100-40gb, ..."""
    batch_per_gpu: Natural = 0
    """samples of a step on each GPU"""
    samples: Natural = 0
    """samples of the training data"""
    hours: Weight = 0.0
    """time that the run took"""
    source: str = ""
    """document that says so"""
