"""One question with everything that the later steps look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from envcompile.plan.base.bundled import majors

if TYPE_CHECKING:
    from envcompile.plan.base.bundled import Bundled
    from envcompile.plan.base.catalogue import Catalogue
    from envcompile.plan.base.model import Question
    from envcompile.plan.base.needs import Needs


class Case(NamedTuple):
    """All that the later steps look at."""

    question: Question
    found: Bundled
    needs: Needs
    catalogue: Catalogue

    @property
    def cuda(self) -> str:
        """The version that the spec asks for; empty where it asks for none."""
        return self.question.cuda if isinstance(self.question.cuda, str) else ""

    @property
    def needs_image(self) -> bool:
        """Whether a stage stands on an nvidia/cuda image."""
        return bool(self.needs.run or self.needs.build)

    @property
    def major(self) -> str:
        """The major version of CUDA: the lock's, the packages', the spec's, or the usual one."""
        known = [*majors(self.found), *self.needs.majors]
        return str(known[0]) if known else self.cuda.partition(".")[0] or self.catalogue.policy.major
