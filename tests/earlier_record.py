"""Records as the form before this one had them, one of each track, and how they were sealed."""

import copy
import hashlib

import msgspec

from ltbench.results.records import path_of

MACHINE = {"python": "3.11.7", "torch": "2.9.0", "cpu": "a processor", "gpu": None, "threads": 1}
TIMING = {
    "seconds": 0.5,
    "work": 0.25,
    "reference_work": 0.25,
    "relative": 1.0,
    "passes": 1.0,
    "peak_memory_mb": 0.051,
}
SCORES = {"balanced_accuracy": 0.1 + 0.2, "accuracy": 0.5, "many": 1.0, "few": None}
RECOGNITION = {
    "protocol": "digits-lt",
    "version": 1,
    "hash": "31c125220c1c22ac",
    "fingerprint": "c10b9250e22f3a67",
    "recipe": "sam(rho=0.8)",
    "parameters": {"sam": {"rho": 0.8}},
    "plugins": {"sam": {"package": "ltbench", "version": "0.1.0", "source": "f0a673b03abb34ca"}},
    "seed": 3,
    "status": "ok",
    "environment": MACHINE,
    "reason": "",
    "notes": ["as it should be"],
    "metrics": SCORES,
    "transductive": {"accuracy": 0.625},
    "recall": [1.0, None],
    "class_counts": [51, 0],
    "timing": TIMING,
    "predictions": "ae86852936429a40",
}
EMPTY = {"metrics": {}, "transductive": None, "recall": [], "timing": None, "predictions": ""}
LATER = {"table": "", "parts": {}, "distilled": None, "compressed": None}
SKIPPED = RECOGNITION | EMPTY | LATER | {"status": "skipped", "reason": "it needs a teacher"}
FAILED = RECOGNITION | EMPTY | LATER | {"status": "failed", "reason": "the loss became nan"}
CONTINUED = RECOGNITION | LATER | {"continued": 2}
PART = {"reason": "", "notes": ["two"], "metrics": {"f1": 0.5, "auc": None}, "timing": TIMING}
SKIPPED_PART = {"reason": "a tree", "notes": [], "metrics": {}, "timing": None}
TABULAR = RECOGNITION | {
    "protocol": "tabular-embedded",
    "hash": "0b8617d851676105",
    **EMPTY,
    **LATER,
    "table": "breast-cancer",
    "parts": {
        "logistic": {"status": "ok", **PART},
        "forest": {"status": "ok", **PART, "metrics": {"f1": 1.0, "auc": 0.75}},
        "tree": {"status": "skipped", **SKIPPED_PART},
    },
}
FAILED_TABULAR = TABULAR | {"status": "failed", "reason": "no table", "parts": {}}
DISTILLATION = (
    RECOGNITION
    | LATER
    | {
        "protocol": "distill-digits",
        "hash": "759f0a5467d2a6c8",
        "distilled": {
            "images": 50,
            "duplicates": 1,
            "bytes": 12800,
            "control": True,
            "networks": 3,
            "evaluation_seconds": 2.5,
        },
    }
)
FAILED_DISTILLATION = DISTILLATION | EMPTY | {"status": "timeout", "distilled": None}
COMPRESSION = (
    RECOGNITION
    | LATER
    | {
        "protocol": "compress-digits",
        "hash": "4ce30ca7a467d3ea",
        "compressed": {
            "parameters": 6000,
            "teacher_parameters": 24000,
            "macs": 30000,
            "teacher_macs": 240000,
            "latency": 0.25,
            "agreement": 0.75,
            "teacher": "1c5817344b027df3",
            "control": False,
            "twin": SCORES | {"balanced_accuracy": 0.9375},
            "twin_seconds": 0.875,
        },
        "continued": 0,
    }
)
FAILED_COMPRESSION = COMPRESSION | EMPTY | {"status": "out-of-memory", "compressed": None}

EARLIER = {
    "recognition": RECOGNITION,
    "skipped": SKIPPED,
    "failed": FAILED,
    "continued": CONTINUED,
    "tabular": TABULAR,
    "failed tabular": FAILED_TABULAR,
    "distillation": DISTILLATION,
    "failed distillation": FAILED_DISTILLATION,
    "compression": COMPRESSION,
    "failed compression": FAILED_COMPRESSION,
}
SEALS = {
    "recognition": "b352f94224f21419",
    "skipped": "373119a1ecd55ab4",
    "failed": "a4c840b39412d70d",
    "continued": "65dbb3ba830e148a",
    "tabular": "7d493708f01210e6",
    "failed tabular": "9e9353fe208d84b3",
    "distillation": "7bd554d124e915ab",
    "failed distillation": "9110d6b6a7677868",
    "compression": "b4bcb18dd7b14f68",
    "failed compression": "3a8823e9a2ef8baf",
}
"""The digest that version 0.1.0 gave each, before there were tracks."""


def sealed(old, **changes):
    """A record of that form with its digest, as it was computed then."""
    old = copy.deepcopy(old) | changes
    content = {"digest": ""} | old
    if not content.get("table"):
        content.pop("table", None), content.pop("parts", None)
    if content.get("distilled") is None:
        content.pop("distilled", None)
    if content.get("compressed") is None:
        content.pop("compressed", None)
    if not content.get("continued"):
        content.pop("continued", None)
    told = msgspec.json.encode(content, order="sorted")
    return old | {"digest": hashlib.sha256(told).hexdigest()[:16]}


def put(results, old, **changes):
    """Writes such a record, sealed, where it was written then."""
    old = sealed(old, **changes)
    place = (old["protocol"], old["recipe"], old["seed"], old.get("table", ""))
    path = path_of(results, *place)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(old), indent=1) + b"\n")
    return path
