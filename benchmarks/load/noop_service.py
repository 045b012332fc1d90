"""The baseline of `load/serving.py`: a BentoML service whose endpoints do nothing.

It has BentoML's own settings.
"""

import bentoml


@bentoml.service(name="noop")
class Noop:
    """Endpoints that take the input of /recommend and answer with an empty object."""

    @bentoml.api
    def nothing(self, user_id: int, k: int) -> dict:
        """An endpoint in BentoML's thread pool, as every endpoint that is not a coroutine."""
        return {}

    @bentoml.api
    async def nothing_async(self, user_id: int, k: int) -> dict:
        """The same on the event loop: the fastest kind of BentoML endpoint."""
        return {}
