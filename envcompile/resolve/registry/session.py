"""Asking registries as one user: what a registry has let in once is let in again."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from envcompile.resolve.registry.addresses import origin
from envcompile.resolve.registry.auth import authorization, credentials
from envcompile.resolve.registry.http import Answer, Patience, Question, Readable, Web

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from envcompile.resolve.registry.place import Place

T = TypeVar("T")


class Session:
    """The network, with the credentials of one docker configuration; `run` runs a credential helper."""

    def __init__(self, docker_config: Path, patience: Patience, run: Callable[[tuple[str, ...], str], str]) -> None:
        self._docker_config = docker_config
        self._run = run
        self._web = Web(patience)
        self._authorized: dict[tuple[str, str], str] = {}

    def ask(self, place: Place, question: Question, consume: Callable[[Readable], T]) -> Answer[T]:
        """Ask; and when the registry wants to know who we are, once more as somebody."""
        key = (place.base, place.repository)
        known = self._authorized.get(key)
        answer = self._web.ask(_signed(question, known), consume)
        # A 401 of a store that we were redirected to is none of our credentials' business.
        if answer.status == HTTPStatus.UNAUTHORIZED and origin(answer.url) == origin(place.base):
            who = credentials(self._docker_config, place, self._run)
            header = authorization(self._web, place, answer.challenges, who)
            if header is not None:
                self._authorized[key] = header
                answer = self._web.ask(_signed(question, header), consume)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise place.denied(answer.status)
        return answer


def _signed(question: Question, header: str | None) -> Question:
    headers = {**question.headers, **({"Authorization": header} if header else {})}
    return Question(question.url, headers, question.method, question.data, question.total, question.hint)
