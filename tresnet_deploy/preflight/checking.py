"""A file against all rules, and against the parser of a runtime where one is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tresnet_deploy import artifacts
from tresnet_deploy.preflight import subject as subjects
from tresnet_deploy.preflight.catalogue import BROKE, REFUSED, RULES, rule_list
from tresnet_deploy.preflight.parser import Answer, ask
from tresnet_deploy.preflight.reports import (
    SEVERITIES,
    Finding,
    ParserCheck,
    PreflightReport,
    RuleEntry,
)
from tresnet_deploy.preflight.rules._rule import Subject
from tresnet_deploy.preflight.targets import PORTABLE, Capability


def check(
    path: Path, *, targets: Sequence[Capability] = PORTABLE, parser: bool = True
) -> PreflightReport:
    """Return what speaks against building TensorRT engines from the ONNX file ``path``.

    ``parser`` also asks the parser of TensorRT-RTX or TensorRT, in a process of its own.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is no ONNX model, or a damaged one.
    """
    meant = tuple(sorted(set(targets)))
    found = subjects.read(path, meant)
    answer = _answer(path, found, parser)
    findings = [*findings_of(found), *_refusals(answer)]
    return PreflightReport(
        path=str(path),
        sha256=artifacts.sha256_of(path),
        targets=tuple(map(str, meant)),
        findings=tuple(sorted(findings, key=lambda each: SEVERITIES.index(each.severity))),
        rules=tuple(entry.rule for entry in rule_list().rules),
        parser=answer.check,
    )


def findings_of(subject: Subject) -> Iterator[Finding]:
    """Give the findings of the static rules, in the order of their ids."""
    for rule in RULES:
        for match in rule.find(subject):
            yield Finding(
                rule=rule.id,
                severity=rule.severity,
                title=rule.title,
                message=match.message,
                nodes=match.nodes,
                remedy=rule.remedy,
            )


def _answer(path: Path, subject: Subject, parser: bool) -> Answer:
    if not parser:
        return Answer(check=ParserCheck(state="not asked", message="--no-parser"))
    if subject.unreadable:
        return Answer(check=ParserCheck(state="not asked", message="some weights cannot be read"))
    return ask(path)


def _refusals(answer: Answer) -> Iterator[Finding]:
    if answer.check.state == "broke":
        yield _of_parser(BROKE, answer.check.message, ())
    for message, nodes in answer.refusals:
        yield _of_parser(REFUSED, message, nodes)


def _of_parser(entry: RuleEntry, message: str, nodes: tuple[str, ...]) -> Finding:
    return Finding(
        rule=entry.rule,
        severity=entry.severity,
        title=entry.title,
        message=message,
        nodes=nodes,
        remedy=entry.remedy,
    )
