"""The family of a method: its branch in the taxonomy of long-tailed learning, else where it stands.

Branches are those of Zhang et al., Deep long-tailed learning: a survey (TPAMI 2023): class
re-balancing (re-sampling, class-sensitive learning, logit adjustment), information augmentation
(transfer learning, data augmentation) and module improvement (representation learning, classifier
design, decoupled training, ensemble learning). What the survey does not name is placed by what it
does, which is ours; what fits no branch, as optimizers and the methods of further tracks, is of the
family that its folder is called.
"""

from ltbench.registry.discovery import Plugin

BRANCHES = {
    "re-sampling": "all-knn cluster-centroids condensed-nn enn instance-hardness minority-mining "
    "nearmiss neighbourhood-cleaning one-sided-selection oversampling progressive-sampling renn "
    "spdcl sqrt-sampling tomek-links train-share undersampling vq-undersampling",
    "class-sensitive": "anyloss balanced-softmax cdt class-balanced class-weights dataset-equity "
    "dice drw equalization focal hybrid-loss inverse-frequency ldam ranked-weights "
    "sqrt-inverse-frequency vs",
    "logit-adjustment": "dcs dnip group-thresholds la-tau lade logit-adjustment "
    "posthoc-logit-adjustment threshold thresholding",
    "transfer": "pseudo-features ssp",
    "augmentation": "adasyn bagan borderline-smote cmo deep-smote kmeans-smote llm-rows mixup "
    "relation-mixup remix smote smote-enn smote-nc smote-tomek svm-smote",
    "representation": "bcl nc-regularizer paco sbcl",
    "classifier-design": "bic etf-classifier ncm weight-aligning",
    "decoupled": "crt lmd lws rcal tau-norm two-phase weight-balancing",
    "ensemble": "adacost balance-cascade balanced-bagging balanced-random-forest easy-ensemble "
    "ride rusboost sade self-paced-ensemble smote-bagging smoteboost under-bagging",
}
"""Methods of each branch, by name."""

_OF = {name: branch for branch, names in BRANCHES.items() for name in names.split()}


def family(plugin: Plugin, method: str) -> str:
    """The family of a method that a plugin brings; of another package, what that is called."""
    return _OF.get(method, plugin.family) if plugin.built_in else plugin.family
