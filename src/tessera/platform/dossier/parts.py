"""The parts of the document, in the order of Annex IV, and what nobody can tell from here.

A part that is missing is said to be: a document that is silent about it would look complete.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the document."""

    key: str
    """Block of the template."""
    title: str
    annex: str
    """Point of Annex IV of Regulation (EU) 2024/1689 that asks for it."""
    guidance: str
    """Part of SR 11-7 that asks for it."""
    missing: tuple[str, ...] = ()
    """What is asked for there, and is known to nobody who reads history and bundles alone."""


PARTS = (
    Part(
        "general",
        "What was in force",
        "1 (general description)",
        "model development, implementation and use; model inventory",
        (
            "name and address of the provider and of who deploys it, and the intended purpose as "
            "the bank has approved it",
            "photographs of the channels in which recommendations are shown",
        ),
    ),
    Part(
        "built",
        "How each version was built",
        "2 (a) to (d) (elements and development)",
        "model development: data and methods",
        (
            "where the data of the source came from, who labelled or cleaned them, and on what "
            "legal ground they are used",
        ),
    ),
    Part(
        "oversight",
        "Human oversight",
        "2 (e) and 3 (human oversight)",
        "governance: roles and approval",
        ("training of those who approve, and their mandate",),
    ),
    Part(
        "validated",
        "How each version was validated",
        "2 (g) and 4 (validation, testing, metrics)",
        "validation: outcomes analysis and benchmarking",
        ("a review by somebody who is independent of those who built it",),
    ),
    Part(
        "limits",
        "Limits that are known",
        "3 (capabilities and limitations)",
        "validation: conceptual soundness and limitations",
    ),
    Part(
        "risk",
        "Risk management",
        "5 (risk management system)",
        "governance: policies and controls",
        (
            "the risk management system of Article 9, and the tier of the model in the bank's own "
            "inventory",
        ),
    ),
    Part(
        "changes",
        "Every act of the period",
        "6 (changes through the lifecycle)",
        "governance: documentation; change control",
    ),
    Part(
        "standards",
        "Standards and conformity",
        "7 and 8 (standards, EU declaration of conformity)",
        "not asked for",
        (
            "the list of harmonised standards applied, and the EU declaration of conformity, if "
            "the system is of high risk: that is for the bank to decide",
        ),
    ),
    Part(
        "watched",
        "How it behaved in use",
        "9 (post-market monitoring)",
        "ongoing monitoring",
    ),
    Part(
        "people",
        "Suitability and complaints",
        "3 and 9 (effects on persons)",
        "ongoing monitoring: overrides and adverse outcomes",
        ("what complaints say: watched days count them (complaint_rate), no table has the words",),
    ),
    Part(
        "checked",
        "How this document was checked",
        "2 (h) (cybersecurity, integrity of records)",
        "documentation",
    ),
)
